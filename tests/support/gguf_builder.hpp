// Builds GGUF files for tests, byte by byte from the format's description and without any code of the runtime's reader:
//
//   GgufBuilder b;
//   b.set("general.architecture", "llama").set("llama.block_count", uint32_t{2});
//   b.f32("output.weight", {2, 32}, values);
//   b.write(folder / "model.gguf");
//
// Keys and tensors appear in the order of the calls. Shapes are outermost first; the builder reverses them for the
// file. What a test wants wrong, it sets: version, magic, counts, an offset, a raw value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace brim::test {

class GgufBuilder {
 public:
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;  // of the data; set general.alignment as well for the reader to know
  std::optional<uint64_t> tensor_count, key_count;

  // Any number, bool, string, or vector of them; the file's type is the C++ type.
  template <class T>
  GgufBuilder& set(std::string_view key, const T& value) {
    std::string bytes;
    if constexpr (std::is_convertible_v<T, std::string_view>) {
      append_string(bytes, value);
      return raw(key, 8, bytes);
    } else if constexpr (requires { value.size(); }) {
      using Element = typename T::value_type;
      append(bytes, kind<Element>());
      append(bytes, uint64_t{value.size()});
      for (const auto& element : value) {
        if constexpr (std::is_convertible_v<Element, std::string_view>) {
          append_string(bytes, element);
        } else {
          append(bytes, static_cast<Element>(element));
        }
      }
      return raw(key, 9, bytes);
    } else {
      append(bytes, value);
      return raw(key, kind<T>(), bytes);
    }
  }

  // A value of any type number with any bytes.
  GgufBuilder& raw(std::string_view key, uint32_t kind, std::string_view bytes) {
    append_string(keys_, key);
    append(keys_, kind);
    keys_ += bytes;
    ++keys_written_;
    return *this;
  }

  struct Tensor {
    std::string name;
    std::vector<uint64_t> shape;  // outermost first
    uint32_t ggml_type;
    std::string bytes;
    std::optional<uint64_t> offset;  // where it stands otherwise
  };
  GgufBuilder& tensor(Tensor entry) {
    tensors_.push_back(std::move(entry));
    return *this;
  }
  template <class T>
  GgufBuilder& tensor(std::string name, std::vector<uint64_t> shape, uint32_t ggml_type, const std::vector<T>& data) {
    const std::string_view bytes(reinterpret_cast<const char*>(data.data()), data.size() * sizeof(T));
    return tensor({std::move(name), std::move(shape), ggml_type, std::string(bytes), std::nullopt});
  }
  GgufBuilder& f32(std::string name, std::vector<uint64_t> shape, const std::vector<float>& values) {
    return tensor(std::move(name), std::move(shape), 0, values);
  }

  // Bytes up to the end of the tensor table, without padding.
  std::string header() const {
    std::string out = magic;
    append(out, version);
    append(out, tensor_count.value_or(tensors_.size()));
    append(out, key_count.value_or(keys_written_));
    out += keys_;
    uint64_t next = 0;
    for (const Tensor& tensor : tensors_) {
      append_string(out, tensor.name);
      append(out, static_cast<uint32_t>(tensor.shape.size()));
      for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent) append(out, *extent);
      append(out, tensor.ggml_type);
      append(out, tensor.offset.value_or(next));
      next += padded(tensor.bytes.size());
    }
    return out;
  }

  std::string bytes() const {
    std::string out = header();
    out.resize(padded(out.size()));
    for (const Tensor& tensor : tensors_) {
      out += tensor.bytes;
      out.resize(out.size() + padded(tensor.bytes.size()) - tensor.bytes.size());
    }
    return out;
  }

  void write(const std::filesystem::path& path) const { write_bytes(path, bytes()); }

  static void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
    std::ofstream out(path, std::ios::binary);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
  }

 private:
  template <class T>
  static constexpr uint32_t kind() {
    if constexpr (std::is_same_v<T, uint8_t>)
      return 0;
    else if constexpr (std::is_same_v<T, int8_t>)
      return 1;
    else if constexpr (std::is_same_v<T, uint16_t>)
      return 2;
    else if constexpr (std::is_same_v<T, int16_t>)
      return 3;
    else if constexpr (std::is_same_v<T, uint32_t>)
      return 4;
    else if constexpr (std::is_same_v<T, int32_t>)
      return 5;
    else if constexpr (std::is_same_v<T, float>)
      return 6;
    else if constexpr (std::is_same_v<T, bool>)
      return 7;
    else if constexpr (std::is_same_v<T, uint64_t>)
      return 10;
    else if constexpr (std::is_same_v<T, int64_t>)
      return 11;
    else if constexpr (std::is_same_v<T, double>)
      return 12;
    else {
      static_assert(std::is_convertible_v<T, std::string_view>, "no GGUF type for this C++ type");
      return 8;
    }
  }

  template <class T>
  static void append(std::string& out, T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out.append(bytes, sizeof(T));
  }
  static void append_string(std::string& out, std::string_view text) {
    append(out, uint64_t{text.size()});
    out += text;
  }
  uint64_t padded(uint64_t bytes) const { return (bytes + alignment - 1) / alignment * alignment; }

  std::string keys_;
  uint64_t keys_written_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace brim::test
