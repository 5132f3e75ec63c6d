// Memory whose end is the end of the world: bytes that lie against a page which may not be touched, so that one byte
// read or written too many ends the process, and a report names the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace check {

class Fenced {
 public:
  // Zeroed. Where `alignment` does not divide `bytes`, up to alignment - 1 bytes behind the end can still be touched;
  // they hold 0xa5 and broken() tells whether somebody wrote there.
  explicit Fenced(uint64_t bytes, uint64_t alignment = 8);
  Fenced(const void* from, uint64_t bytes, uint64_t alignment = 8);
  ~Fenced();
  Fenced(Fenced&& other) noexcept;
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;

  std::byte* data() const { return data_; }
  uint64_t size() const { return bytes_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  // From here on nobody may write (or read) it.
  void seal() const;
  void close() const;
  void open() const;
  bool broken() const;

 private:
  std::byte* pages_ = nullptr;
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0, mapped_ = 0;
};

// A struct of the ABI in fenced memory, cut or grown to `size` bytes: what lies behind its own size is zero.
template <class T>
Fenced fenced_struct(T value, uint64_t size) {
  const uint32_t told = static_cast<uint32_t>(size);
  std::memcpy(static_cast<void*>(&value), &told, sizeof(told));
  Fenced out(size, 8);
  std::memcpy(out.data(), &value, size < sizeof(T) ? size : sizeof(T));
  return out;
}

// Elements of an array of the ABI, `stride` bytes apart: what the stride adds is 0xa5, what it lacks is cut off.
template <class T>
Fenced fenced_array(const std::vector<T>& elements, uint64_t stride) {
  Fenced out(elements.size() * stride, stride % 8 == 0 ? 8 : 4);
  for (size_t i = 0; i < elements.size(); ++i) {
    std::byte* at = out.data() + i * stride;
    std::memset(at, 0xa5, stride);
    std::memcpy(at, &elements[i], stride < sizeof(T) ? stride : sizeof(T));
  }
  return out;
}

}  // namespace check
