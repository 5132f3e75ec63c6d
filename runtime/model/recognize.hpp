// Says what a file that is no GGUF seems to be, for the error message: people hand over web pages, Git LFS pointers and
// files of other formats.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace brim::model {

// A phrase that continues "it seems to be ...", with what to do about it. `begin` is the file's first bytes (4 KiB do).
std::string seems_to_be(std::span<const std::byte> begin);

}  // namespace brim::model
