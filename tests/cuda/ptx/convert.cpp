// cvt: between whole numbers of all widths and floats. Sources are taken from registers that may be wider than the
// type.
#include <cmath>
#include <limits>
#include <utility>

#include "lanes.hpp"

namespace ptx {
namespace {

struct Half {
  uint16_t bits;
};

template <class T>
T read(uint64_t bits) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits));
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<double>(bits);
  } else if constexpr (std::is_same_v<T, Half>) {
    return Half{static_cast<uint16_t>(bits)};
  } else {
    return static_cast<T>(bits);
  }
}
template <class T>
uint64_t written(T v) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<uint32_t>(v);
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<uint64_t>(v);
  } else if constexpr (std::is_same_v<T, Half>) {
    return v.bits;
  } else {
    return static_cast<uint64_t>(static_cast<int64_t>(v));  // narrower results fill a wider register
  }
}

// To whole numbers, or as the target's type holds it; saturated to its range, floats to [0, 1].
enum : uint32_t { kNearest, kZero, kDown, kUp, kAsIs, kSaturate };

double whole(double v, uint32_t how) {
  switch (how) {
    case kZero:
      return std::trunc(v);
    case kDown:
      return std::floor(v);
    case kUp:
      return std::ceil(v);
    default:
      return std::nearbyint(v);
  }
}

template <class D, class S>
D converted(S v, uint32_t how) {
  if constexpr (std::is_same_v<S, Half>) {
    return converted<D, float>(half_to_float(v.bits), how);
  } else if constexpr (std::is_same_v<D, Half>) {
    return Half{float_to_half(static_cast<float>(v))};
  } else if constexpr (std::is_floating_point_v<D>) {
    D result = static_cast<D>(v);
    if constexpr (std::is_same_v<D, S>) {
      if (how < kAsIs) result = static_cast<D>(whole(v, how));
    }
    if (how == kSaturate) result = result > 0 ? std::min(result, D(1)) : D(0);
    return result;
  } else if constexpr (std::is_floating_point_v<S>) {
    if (std::isnan(v)) return sizeof(D) == 8 ? static_cast<D>(1ull << 63) : D(0);
    const double w = whole(static_cast<double>(v), how);
    // The largest value of a 64-bit type is no double: compare with the power of two behind it.
    const double end = std::ldexp(1.0, std::numeric_limits<D>::digits);
    if (w >= end) return std::numeric_limits<D>::max();
    if (w < static_cast<double>(std::numeric_limits<D>::min())) return std::numeric_limits<D>::min();
    return static_cast<D>(w);
  } else {
    if (how == kSaturate) {
      if (std::cmp_greater(v, std::numeric_limits<D>::max())) return std::numeric_limits<D>::max();
      if (std::cmp_less(v, std::numeric_limits<D>::min())) return std::numeric_limits<D>::min();
    }
    return static_cast<D>(v);
  }
}

template <class D, class S, uint32_t kHow>
void convert(Warp& w, const Instruction& in, uint32_t mask) {
  each_lane(mask, [&](uint32_t lane) {
    set_bits(w, in.to[0], lane, written<D>(converted<D, S>(read<S>(bits_of(w, in.from[0], lane)), kHow)));
  });
}

// Whole numbers of 32 and 64 bits are most of what compilers convert.
template <class D, class S>
Step plain(uint32_t how) {
  switch (how) {
    case kNearest:
      return convert<D, S, kNearest>;
    case kZero:
      return convert<D, S, kZero>;
    case kDown:
      return convert<D, S, kDown>;
    case kUp:
      return convert<D, S, kUp>;
    case kAsIs:
      return convert<D, S, kAsIs>;
    default:
      return convert<D, S, kSaturate>;
  }
}

template <class D>
Step from(const std::string& source, uint32_t how) {
  if (source == "f32") return plain<D, float>(how);
  if (source == "f64") return plain<D, double>(how);
  if (source == "u32" || source == "b32") return plain<D, uint32_t>(how);
  if (source == "s32") return plain<D, int32_t>(how);
  if (source == "u64" || source == "b64") return plain<D, uint64_t>(how);
  if (source == "s64") return plain<D, int64_t>(how);
  if (source == "u16" || source == "b16") return plain<D, uint16_t>(how);
  if (source == "s16") return plain<D, int16_t>(how);
  if (source == "u8" || source == "b8") return plain<D, uint8_t>(how);
  if (source == "s8") return plain<D, int8_t>(how);
  if constexpr (std::is_same_v<D, float>) {
    if (source == "f16") return plain<float, Half>(how);
  }
  return nullptr;
}

}  // namespace

Step convert_step(const std::string& to, const std::string& source, const std::string& rounding, bool saturate,
                  bool flush) {
  static const std::map<std::string, uint32_t> kinds = {{"", kAsIs},    {"rn", kAsIs},  {"rni", kNearest},
                                                        {"rzi", kZero}, {"rmi", kDown}, {"rpi", kUp}};
  const auto kind = kinds.find(rounding);
  if (kind == kinds.end() || flush || (saturate && kind->second != kAsIs)) return nullptr;
  const uint32_t how = saturate ? kSaturate : kind->second;
  if (to == "f32") return from<float>(source, how);
  if (to == "f64") return from<double>(source, how);
  if (to == "u32" || to == "b32") return from<uint32_t>(source, how);
  if (to == "s32") return from<int32_t>(source, how);
  if (to == "u64" || to == "b64") return from<uint64_t>(source, how);
  if (to == "s64") return from<int64_t>(source, how);
  if (to == "u16" || to == "b16") return from<uint16_t>(source, how);
  if (to == "s16") return from<int16_t>(source, how);
  if (to == "u8") return from<uint8_t>(source, how);
  if (to == "s8") return from<int8_t>(source, how);
  if (to == "f16" && source == "f32") return plain<Half, float>(how);
  return nullptr;
}

}  // namespace ptx
