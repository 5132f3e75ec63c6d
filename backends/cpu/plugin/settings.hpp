// Key = value settings of an instance or of a described device: typed reading, and refusal of what is not known.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "brim/plugin.h"

namespace brim_cpu {

inline std::string_view view(brim_str s) { return s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len); }

// A key that is not in `known` is INVALID_ARGUMENT naming the nearest known one.
void refuse_unknown(const char* where, std::string_view key, std::initializer_list<std::string_view> known);

// A whole number in [least, most]; anything else is INVALID_ARGUMENT.
uint64_t whole_number(const char* where, std::string_view key, std::string_view value, uint64_t least, uint64_t most);

// Calls use(key, value) for each setting, all keys being known.
template <class Use>
void each_setting(const char* where, const void* settings, uint32_t n, uint32_t stride,
                  std::initializer_list<std::string_view> known, Use&& use) {
  for (uint32_t i = 0; i < n; ++i) {
    const brim_setting* setting = BRIM_ELEM(brim_setting, settings, stride, i);
    refuse_unknown(where, view(setting->key), known);
    use(view(setting->key), view(setting->value));
  }
}

}  // namespace brim_cpu
