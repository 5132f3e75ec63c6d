#include <model/quantize/gguf_writer.hpp>
#include <type_traits>

namespace brim::model {
namespace {

template <class T>
void append(std::string& out, T value) {
  static_assert(std::is_unsigned_v<T>);
  for (size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
}

void append_string(std::string& out, std::string_view text) {
  append(out, uint64_t{text.size()});
  out += text;
}

constexpr uint32_t kVersion = 3;
constexpr uint32_t kU32 = 4;  // the number of the value type

}  // namespace

void GgufWriter::add_entry(std::span<const std::byte> entry) {
  keys_.append(reinterpret_cast<const char*>(entry.data()), entry.size());
  ++key_count_;
}

void GgufWriter::add_u32(std::string_view key, uint32_t value) {
  append_string(keys_, key);
  append(keys_, kU32);
  append(keys_, value);
  ++key_count_;
}

void GgufWriter::add_tensor(std::string_view name, const Shape& shape, uint32_t ggml_type, uint64_t bytes) {
  append_string(tensors_, name);
  append(tensors_, shape.rank);
  for (uint32_t i = shape.rank; i-- > 0;) append(tensors_, shape.extents[i]);
  append(tensors_, ggml_type);
  append(tensors_, next_offset_);
  next_offset_ += bytes + padding(bytes);
  ++tensor_count_;
}

std::string GgufWriter::header() const {
  std::string out = "GGUF";
  append(out, kVersion);
  append(out, tensor_count_);
  append(out, key_count_);
  out += keys_;
  out += tensors_;
  out.append(padding(out.size()), '\0');
  return out;
}

}  // namespace brim::model
