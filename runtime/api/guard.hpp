// What every function of the C ABI is wrapped in: exceptions become a status, sized structs are copied into this
// minor's size, text and lists go out as (buf, cap, need).
#pragma once

#include <brim/brim.h>

#include <algorithm>
#include <atomic>
#include <base/error.hpp>
#include <cstring>
#include <span>
#include <string_view>

namespace brim::api {

// Runs f; what it throws is written to `error` and becomes the status.
template <class F>
brim_status guard(brim_error* error, const F& f) noexcept {
  try {
    f();
    return BRIM_OK;
  } catch (...) {
    return report_current_exception(error);
  }
}

template <class T>
T& need(T* pointer, const char* what) {
  if (!pointer) fail(BRIM_INVALID_ARGUMENT, "{} is NULL", what);
  return *pointer;
}

// Whether a T can end there: no field is smaller than four bytes. (Half of a pointer cannot be told from a field of four.)
template <class T>
bool can_end_at(uint32_t size) {
  return size >= sizeof(T) || (size >= sizeof(uint32_t) && size % sizeof(uint32_t) == 0);
}

// The caller's struct in this minor's size: what an older caller does not send reads as zero.
template <class T>
T read_struct(const T* theirs, const char* what) {
  const uint32_t size = need(theirs, what).struct_size;
  if (!can_end_at<T>(size))
    fail(BRIM_INVALID_ARGUMENT, "{}.struct_size is {}; set it to sizeof({})", what, size, what);
  T mine{};
  std::memcpy(&mine, theirs, std::min<size_t>(size, sizeof(T)));
  mine.struct_size = sizeof(T);
  return mine;
}

// Element i of a (pointer, count, stride) array, in this minor's size; no byte past the stride is read.
template <class T>
T read_element(const void* array, uint32_t stride, uint32_t i, const char* what) {
  if (!array) fail(BRIM_INVALID_ARGUMENT, "the array of {} is NULL, but its count is not 0", what);
  if (!can_end_at<T>(stride))
    fail(BRIM_INVALID_ARGUMENT, "the stride of {} is {}; set it to sizeof({})", what, stride, what);
  T mine{};
  std::memcpy(&mine, BRIM_ELEM(char, array, stride, i), std::min<size_t>(stride, sizeof(T)));
  return mine;
}

// A text that a caller hands over.
inline std::string_view read_text(brim_str text, const char* what) {
  if (!text.ptr && text.len) fail(BRIM_INVALID_ARGUMENT, "{} is NULL, but its length is {}", what, text.len);
  return view(text);
}

// The other way: fills as much of the caller's struct as it has.
template <class T>
void write_struct(T* theirs, const T& mine, const char* what) {
  const uint32_t size = need(theirs, what).struct_size;
  if (size < sizeof(uint32_t))
    fail(BRIM_INVALID_ARGUMENT, "{}.struct_size is {}; set it to sizeof({})", what, size, what);
  std::memcpy(theirs, &mine, std::min<size_t>(size, sizeof(T)));
  theirs->struct_size = size;
}

inline void write_text(std::string_view text, char* buf, uint64_t cap, uint64_t* need_bytes) {
  need(need_bytes, "need") = text.size();
  if (!buf) return;
  if (cap < text.size()) fail(BRIM_INVALID_ARGUMENT, "the buffer of {} bytes is too small for {}", cap, text.size());
  if (!text.empty()) std::memcpy(buf, text.data(), text.size());
  if (cap > text.size()) buf[text.size()] = '\0';
}

inline void write_tokens(std::span<const int32_t> tokens, int32_t* out, uint64_t cap, uint64_t* need_tokens) {
  need(need_tokens, "need") = tokens.size();
  if (!out) return;
  if (cap < tokens.size()) fail(BRIM_INVALID_ARGUMENT, "room for {} tokens is too little for {}", cap, tokens.size());
  std::copy(tokens.begin(), tokens.end(), out);
}

}  // namespace brim::api
