// Where records go: a value {level, sink} that every part of one runtime holds a copy of. One complete record a call,
// with its level and its source ("loader", "brim.cpu"). There is no global log and nothing is ever printed: without a
// sink records vanish.
#pragma once

#include <brim/plugin.h>

#include <functional>
#include <string_view>

namespace brim {

struct Log {
  uint32_t level = BRIM_LOG_INFO;  // BRIM_LOG_*: what is below is dropped
  // Called from any thread, from several at once.
  std::function<void(uint32_t level, std::string_view source, std::string_view message)> sink;

  // [any] What the sink throws is swallowed: a record never fails the work that it is about.
  void write(uint32_t record_level, std::string_view source, std::string_view message) const noexcept {
    if (!sink || record_level < level) return;
    try {
      sink(record_level, source, message);
    } catch (...) {
    }
  }
};

}  // namespace brim
