#include <algorithm>
#include <base/error.hpp>
#include <cstring>
#include <new>

namespace brim {
namespace {

void write(brim_error* out, brim_status code, std::string_view message, const Error* error) noexcept {
  if (!out) return;
  brim_error full = empty_error();
  full.code = code;
  if (error) {
    full.native_code = error->native_code;
    full.domain = error->domain;
    std::copy(error->detail.begin(), error->detail.end(), full.detail);
  }
  const size_t length = std::min(message.size(), sizeof(full.message) - 1);
  std::memcpy(full.message, message.data(), length);
  // A host of an older minor has a smaller struct: it gets what fits, and its text stays terminated.
  const uint32_t room = std::min<uint32_t>(out->struct_size, sizeof(full));
  if (room < BRIM_SIZE_THROUGH(brim_error, code)) return;
  full.struct_size = out->struct_size;
  std::memcpy(out, &full, room);
  if (room > offsetof(brim_error, message)) reinterpret_cast<char*>(out)[room - 1] = '\0';
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

void check(brim_status status, const brim_error& error, std::string_view doing) {
  if (status == BRIM_OK) return;
  const size_t length = strnlen(error.message, sizeof(error.message));
  const std::string_view said = length ? std::string_view(error.message, length) : brim_status_name(status);
  throw Error(status, fmt::format("{}: {}", doing, said),
              {error.detail[0], error.detail[1], error.detail[2], error.detail[3]}, error.native_code, error.domain);
}

}  // namespace brim
