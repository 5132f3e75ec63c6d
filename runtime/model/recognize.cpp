#include <algorithm>
#include <base/utf8.hpp>
#include <cctype>
#include <model/recognize.hpp>
#include <string_view>

namespace brim::model {
namespace {

bool contains_without_case(std::string_view text, std::string_view lower) {
  return std::search(text.begin(), text.end(), lower.begin(), lower.end(),
                     [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; }) != text.end();
}

bool is_text(std::string_view bytes) {
  // The window may cut the last character.
  for (size_t cut = 0; cut < 4 && cut < bytes.size(); ++cut) {
    if (!is_utf8(bytes.substr(0, bytes.size() - cut))) continue;
    return std::none_of(bytes.begin(), bytes.end(), [](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return byte < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f';
    });
  }
  return false;
}

}  // namespace

std::string seems_to_be(std::span<const std::byte> begin) {
  const std::string_view bytes(reinterpret_cast<const char*>(begin.data()), std::min<size_t>(begin.size(), 4096));
  const auto starts = [&](std::string_view magic) { return bytes.substr(0, magic.size()) == magic; };

  if (starts("FUGG")) return "a GGUF file in a byte order that Brim does not read; convert the model for little-endian";
  for (const char* magic : {"ggjt", "tjgg", "ggml", "lmgg", "ggmf", "fmgg", "ggla", "algg"}) {
    if (starts(magic)) return "a GGML file from before GGUF; get the model as GGUF";
  }
  // safetensors: the JSON header's length in 8 bytes, then the header.
  if (bytes.size() > 9 && bytes[8] == '{' && bytes[7] == 0 && bytes[6] == 0) {
    return "a safetensors file; convert the model to GGUF";
  }
  if (starts("PK\x03\x04")) return "a ZIP archive (PyTorch checkpoints are such); convert the model to GGUF";
  if (starts("\x80\x02") || starts("\x80\x03") || starts("\x80\x04")) {
    return "a Python pickle (a PyTorch checkpoint?); convert the model to GGUF";
  }
  if (starts("\x1f\x8b") || starts("\x28\xb5\x2f\xfd") ||
      starts("\xfd"
             "7zXZ") ||
      starts("BZh")) {
    return "a compressed file; unpack it first";
  }
  if (starts("\x7f"
             "ELF") ||
      starts("MZ"))
    return "a program or library; give the path of the model file";
  if (starts("version https://git-lfs.")) {
    return "a Git LFS pointer, not the file itself; fetch the file (git lfs pull) or download it";
  }
  if (is_text(bytes)) {
    if (contains_without_case(bytes, "<html") || contains_without_case(bytes, "<!doctype html")) {
      return "a web page; the download gave a page instead of the file, use the link of the raw file";
    }
    if (bytes.find_first_not_of(" \t\r\n") != std::string_view::npos &&
        bytes[bytes.find_first_not_of(" \t\r\n")] == '{') {
      return "a JSON file; give the path of the GGUF file";
    }
    return "a text file; give the path of the GGUF file";
  }
  if (std::all_of(begin.begin(), begin.end(), [](std::byte b) { return b == std::byte{0}; })) {
    return "filled with zeros (an unfinished download?); get it again";
  }
  return "a file of an unknown kind; give the path of a GGUF file";
}

}  // namespace brim::model
