// The little that rooms below text/ need of UTF-8: is it valid, and how does a message show bytes from a file.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace brim {

// Bytes of the character at the begin of `text`, which is not empty; 0 where none is well-formed.
size_t character_bytes(std::string_view text) noexcept;

// Well-formed as RFC 3629 says: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

// The text for use in a message: at most `limit` bytes followed by "..." if there was more; control characters, and
// bytes that belong to no well-formed sequence, as \xNN.
std::string printable(std::string_view text, size_t limit = 80);

}  // namespace brim
