// Cuts text into the words that byte-level BPE merges within. Each vocabulary was trained with its own regular
// expressions, kept here as hand-written matchers over decoded text, linear in time whatever the text.
//
// A pre-tokenizer is one or more stages. A stage cuts every piece it is given into its matches and the gaps between
// them, and hands both on; look-ahead ends where the piece ends.
#pragma once

#include <cstdint>
#include <string_view>
#include <text/vocabulary.hpp>
#include <vector>

namespace brim::text {

// The byte offsets where words end, ascending; the last is text.size(). Empty for an empty text.
// text must be UTF-8 shorter than 4 GiB.
std::vector<uint32_t> split_words(PreTokenizer kind, std::string_view text);

}  // namespace brim::text
