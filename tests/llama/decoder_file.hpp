// A file of a decoder family, small enough to read: the keys that all have, and tensors named block by block.
#pragma once

#include "recorder.hpp"

namespace brim::test {

// Rows of 48 values, 4 heads of 12 on 2 KV heads, no head of its own.
inline File decoder_file(const std::string& family, uint64_t n_layers) {
  File f;
  const auto key = [&](const char* name) { return family + "." + name; };
  f.keys = {{"general.architecture", family},
            {key("block_count"), n_layers},
            {key("context_length"), uint64_t{512}},
            {key("embedding_length"), uint64_t{48}},
            {key("feed_forward_length"), uint64_t{96}},
            {key("attention.head_count"), uint64_t{4}},
            {key("attention.head_count_kv"), uint64_t{2}},
            {key("attention.layer_norm_rms_epsilon"), 1e-5}};
  f.tensors = {{"token_embd.weight", {300, 48}}, {"output_norm.weight", {48}}};
  return f;
}

// blk.LAYER.NAME for each name; a name without an ending gets ".weight".
inline void add_tensors(File& f, uint64_t layer, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const bool whole = name.find('.') != std::string::npos || name == "ssm_a";
    f.tensors["blk." + std::to_string(layer) + "." + name + (whole ? "" : ".weight")] = {};
  }
}

}  // namespace brim::test
