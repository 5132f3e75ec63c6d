// What the C++ comforts for architecture authors throw, and how a plugin's edge turns it into a status. Exceptions stay
// inside the plugin: guard() is the last frame before the C ABI.
#pragma once

#include <brim/architecture.h>

#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace brim::arch {

class Failure : public std::exception {
 public:
  // An empty message means that the host knows the error already (one of its own calls returned it).
  explicit Failure(brim_status code, std::string message = {}) : code(code), message(std::move(message)) {}
  const char* what() const noexcept override { return message.c_str(); }

  brim_status code;
  std::string message;
};

inline brim_str str(std::string_view text) { return {text.data(), text.size()}; }

// Calls body() and hands whatever it throws to the host's builder.
template <class Body>
brim_status guard(const brim_builder_api& api, brim_builder* builder, Body&& body) noexcept {
  const auto report = [&](brim_status code, std::string_view message) {
    if (!message.empty()) api.error(builder, code, str(message));
    return code;
  };
  try {
    body();
    return BRIM_OK;
  } catch (const Failure& failure) {
    return report(failure.code, failure.message);
  } catch (const std::bad_alloc&) {
    return report(BRIM_OUT_OF_MEMORY, "out of host memory while a graph was described");
  } catch (const std::exception& e) {
    return report(BRIM_INTERNAL, e.what());
  } catch (...) {
    return report(BRIM_INTERNAL, "unknown exception inside an architecture plugin");
  }
}

}  // namespace brim::arch
