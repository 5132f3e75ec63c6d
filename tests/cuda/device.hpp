// Device memory and launches for tests of the machine alone.
#pragma once

#include <doctest/doctest.h>

#include <fstream>
#include <list>
#include <sstream>

#include "ptx/machine.hpp"

namespace ptx_test {

class Device {
 public:
  explicit Device(const std::string& text)
      : module(ptx::parse(text, [this](const ptx::Variable& v) {
          const uint64_t at = allocate(v.bytes);
          std::memcpy(host(at), v.init.data(), v.bytes);
          return at;
        })) {}

  uint64_t allocate(uint64_t bytes, bool read_only = false) {
    blocks_.emplace_back(bytes, std::byte{0xff});
    const uint64_t at = next_;
    next_ += (bytes / 256 + 2) * 256;
    memory.add({at, at + bytes, blocks_.back().data(), read_only});
    return at;
  }
  template <class T>
  uint64_t upload(const std::vector<T>& values, bool read_only = false) {
    const uint64_t at = allocate(values.size() * sizeof(T), read_only);
    std::memcpy(host(at), values.data(), values.size() * sizeof(T));
    return at;
  }
  template <class T>
  std::vector<T> download(uint64_t at, size_t n) const {
    std::vector<T> values(n);
    std::memcpy(values.data(), memory.at(at, n * sizeof(T)), n * sizeof(T));
    return values;
  }
  std::byte* host(uint64_t at) { return memory.at(at, 1); }

  // Parameters of 4 and 8 bytes, each aligned to its size.
  template <class... P>
  void run(const std::string& kernel, ptx::Shape grid, ptx::Shape block, P... params) {
    std::vector<std::byte> bytes;
    const auto put = [&](auto p) {
      bytes.resize((bytes.size() + sizeof p - 1) / sizeof p * sizeof p);
      const auto* from = reinterpret_cast<const std::byte*>(&p);
      bytes.insert(bytes.end(), from, from + sizeof p);
    };
    (put(params), ...);
    ptx::launch(module->kernels.at(kernel), grid, block, bytes, memory, options, nullptr);
  }
  // What went wrong; empty if nothing did.
  template <class... P>
  std::string fault(const std::string& kernel, ptx::Shape grid, ptx::Shape block, P... params) {
    try {
      run(kernel, grid, block, params...);
      return "";
    } catch (const ptx::Fault& fault) {
      return fault.what();
    }
  }

  ptx::Memory memory;
  ptx::Options options;

 private:
  std::list<std::vector<std::byte>> blocks_;
  uint64_t next_ = 1ull << 42;

 public:
  std::unique_ptr<ptx::Module> module;
};

inline std::string text_of(const char* path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  REQUIRE_MESSAGE(in.good(), path);
  return text.str();
}

}  // namespace ptx_test
