#include <algorithm>
#include <base/error.hpp>
#include <base/utf8.hpp>
#include <cstring>
#include <new>

namespace brim {
namespace {

// As much of the text as fits, in whole characters, and "..." where that is not all. Bytes that are no character (of a
// caller's path, of a file's name) are '?'. The text holds no zero: it was a C string.
void copy_text(std::string_view text, char* to, size_t room) noexcept {
  constexpr std::string_view kMore = "...";
  const bool cut = text.size() > room && room >= kMore.size();
  if (cut) room -= kMore.size();
  while (!text.empty()) {
    const size_t bytes = character_bytes(text), step = std::max<size_t>(bytes, 1);
    if (step > room) break;
    std::memcpy(to, bytes ? text.data() : "?", step);
    text.remove_prefix(step);
    to += step;
    room -= step;
  }
  if (cut) std::memcpy(to, kMore.data(), kMore.size());
}

void write(brim_error* out, brim_status code, std::string_view message, const Error* error) noexcept {
  if (!out) return;
  // A host of an older minor has a smaller struct: it gets what fits, and its text stays terminated.
  const uint32_t room = std::min<uint32_t>(out->struct_size, sizeof(*out));
  if (room < BRIM_SIZE_THROUGH(brim_error, code)) return;
  brim_error full = empty_error();
  full.struct_size = out->struct_size;
  full.code = code;
  if (error) {
    full.native_code = error->native_code;
    full.domain = error->domain;
    std::copy(error->detail.begin(), error->detail.end(), full.detail);
  }
  constexpr size_t kMessage = offsetof(brim_error, message);
  if (room > kMessage) copy_text(message, full.message, room - kMessage - 1);
  std::memcpy(out, &full, room);
}

}  // namespace

brim_status report_current_exception(brim_error* out) noexcept {
  try {
    throw;
  } catch (const Error& e) {
    write(out, e.code, e.what(), &e);
    return e.code;
  } catch (const std::bad_alloc&) {
    write(out, BRIM_OUT_OF_MEMORY, "out of host memory; close other programs or ask for a smaller context", nullptr);
    return BRIM_OUT_OF_MEMORY;
  } catch (const std::exception& e) {
    write(out, BRIM_INTERNAL, e.what(), nullptr);
    return BRIM_INTERNAL;
  } catch (...) {
    write(out, BRIM_INTERNAL, "unknown exception inside the runtime", nullptr);
    return BRIM_INTERNAL;
  }
}

std::string words_of(brim_status status, const brim_error& error) {
  const size_t length = strnlen(error.message, sizeof(error.message));
  if (length == 0) return brim_status_name(status);
  std::string words(length, '\0');
  copy_text({error.message, length}, words.data(), words.size());
  return words;
}

void check(brim_status status, const brim_error& error, std::string_view doing) {
  if (status == BRIM_OK) return;
  throw Error(status <= BRIM_CONTEXT_FULL ? status : BRIM_INTERNAL,
              fmt::format("{}: {}", doing, words_of(status, error)),
              {error.detail[0], error.detail[1], error.detail[2], error.detail[3]}, error.native_code, error.domain);
}

}  // namespace brim
