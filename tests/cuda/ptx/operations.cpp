// What each instruction means (PTX ISA 9.0). Approximate functions are computed to the precision of the host's: a
// device may be off by the few units that the ISA allows.
#include <cfenv>
#include <cmath>
#include <limits>

#include "decode.hpp"
#include "lanes.hpp"

namespace ptx {

Step load_step(const std::string& type);  // memory_operations.cpp
Step store_step(const std::string& type);
Step convert_step(const std::string& to, const std::string& from, const std::string& rounding, bool saturate,
                  bool flush);                                // convert.cpp
void shuffle(Warp& w, const Instruction& in, uint32_t mask);  // warp_operations.cpp
void vote(Warp& w, const Instruction& in, uint32_t mask);
Step reduce_step(const std::string& how, const std::string& type);
Step mma_step(const std::string& shape, const std::string& types, uint32_t* a, uint32_t* b);
void load_matrices(Warp& w, const Instruction& in, uint32_t mask);
void start_copy(Warp& w, const Instruction& in, uint32_t mask);  // memory_operations.cpp
void commit_copies(Warp& w, const Instruction& in, uint32_t mask);
void wait_for_copies(Warp& w, const Instruction& in, uint32_t mask);

float half_to_float(uint16_t bits) {
  const uint32_t exponent = bits >> 10 & 31u, fraction = bits & 1023u, sign = uint32_t{bits} >> 15 << 31;
  if (exponent == 0) {
    const float small = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -small : small;
  }
  return std::bit_cast<float>(sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | fraction << 13);
}

namespace {

uint16_t double_to_half(double x) {
  const uint32_t sign = std::signbit(x) ? 0x8000u : 0;
  const double magnitude = std::fabs(x);
  if (std::isnan(x)) return 0x7fff;
  if (magnitude >= 65520) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude == 0) return static_cast<uint16_t>(sign);  // frexp has no exponent for it
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int unit = std::max(exponent - 11, -24);  // of the last place
  const double units = std::nearbyint(std::ldexp(magnitude, -unit));
  const uint32_t whole = static_cast<uint32_t>(units);
  // A subnormal is its number of units; rounding up to the next power of two carries into the exponent by itself.
  const uint32_t h = unit == -24 ? whole : (static_cast<uint32_t>(unit + 25) << 10) + (whole - 1024u);
  return static_cast<uint16_t>(sign | h);
}

}  // namespace

uint16_t float_to_half(float x) { return double_to_half(x); }

uint16_t float_to_bfloat(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return std::isnan(x) ? 0x7fff : static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

namespace {

using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;

float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }
float unit_clamp(float x) { return x > 0 ? std::min(x, 1.0f) : 0.0f; }

// a * b + c, or - c, of the F16 in both halves, each rounded once. A double holds the product; where the sum does not
// fit into it, its last bit says so (rounding to odd), and rounding that again is rounding once.
constexpr u32 kTwoOnes = 0x3c003c00u;
u32 two_halves(u32 a, u32 b, u32 c, bool negative) {
  const auto one_half = [&](u32 shift) {
    const double p = double{half_to_float(static_cast<u16>(a >> shift))} * half_to_float(static_cast<u16>(b >> shift));
    const double q = (negative ? -1.0 : 1.0) * half_to_float(static_cast<u16>(c >> shift));
    double y = p + q;
    const double back = y - p, lost = (p - (y - back)) + (q - back);
    if (lost != 0 && (std::bit_cast<u64>(y) & 1) == 0) y = std::nextafter(y, lost > 0 ? HUGE_VAL : -HUGE_VAL);
    return u32{double_to_half(y)} << shift;
  };
  return one_half(0) | one_half(16);
}

// Compiled apart, so that no compiler folds them under the rounding it knows.
__attribute__((noipa)) float sum(float a, float b) { return a + b; }
__attribute__((noipa)) float fused(float a, float b, float c) { return std::fma(a, b, c); }

// Under another rounding than to nearest.
template <int kMode, class F>
auto rounded(F f) {
  const int before = std::fegetround();
  std::fesetround(kMode);
  const auto result = f();
  std::fesetround(before);
  return result;
}

// Type names to steps: make.template operator()<T>().
template <class Make>
Step integers(const std::string& type, Make make) {
  if (type == "u32" || type == "b32") return make.template operator()<u32>();
  if (type == "s32") return make.template operator()<s32>();
  if (type == "u64" || type == "b64") return make.template operator()<u64>();
  if (type == "s64") return make.template operator()<s64>();
  if (type == "u16" || type == "b16") return make.template operator()<u16>();
  if (type == "s16") return make.template operator()<s16>();
  return nullptr;
}
template <class Make>
Step bits(const std::string& type, Make make) {
  if (type == "b32") return make.template operator()<u32>();
  if (type == "b64") return make.template operator()<u64>();
  if (type == "b16") return make.template operator()<u16>();
  return nullptr;
}
template <class Make>
Step floats(const std::string& type, Make make) {
  if (type == "f32") return make.template operator()<float>();
  if (type == "f64") return make.template operator()<double>();
  return nullptr;
}

template <class T>
using Unsigned = std::make_unsigned_t<T>;

// ---- integers ----

Step integer_step(const std::string& op, const std::string& type) {
  if (op == "add")
    return integers(type,
                    []<class T> { return two<T, T, T>([](T a, T b) { return T(Unsigned<T>(a) + Unsigned<T>(b)); }); });
  if (op == "sub")
    return integers(type,
                    []<class T> { return two<T, T, T>([](T a, T b) { return T(Unsigned<T>(a) - Unsigned<T>(b)); }); });
  if (op == "mul.lo")
    return integers(type, []<class T> { return two<T, T, T>([](T a, T b) { return T(u64(a) * u64(b)); }); });
  if (op == "mad.lo")
    return integers(type,
                    []<class T> { return three<T, T, T>([](T a, T b, T c) { return T(u64(a) * u64(b) + u64(c)); }); });
  if (op == "mul.wide") {
    if (type == "u32") return two<u64, u32, u32>([](u32 a, u32 b) { return u64{a} * b; });
    if (type == "s32") return two<s64, s32, s32>([](s32 a, s32 b) { return s64{a} * b; });
    if (type == "u16") return two<u32, u16, u16>([](u16 a, u16 b) { return u32{a} * b; });
    if (type == "s16") return two<s32, s16, s16>([](s16 a, s16 b) { return s32{a} * b; });
  }
  if (op == "mad.wide") {
    if (type == "u32") return three<u64, u32, u64>([](u32 a, u32 b, u64 c) { return u64{a} * b + c; });
    if (type == "s32") return three<u64, s32, u64>([](s32 a, s32 b, u64 c) { return u64(s64{a} * b) + c; });
    if (type == "u16") return three<u32, u16, u32>([](u16 a, u16 b, u32 c) { return u32{a} * b + c; });
    if (type == "s16") return three<u32, s16, u32>([](s16 a, s16 b, u32 c) { return u32(s32{a} * b) + c; });
  }
  if (op == "mul.hi") {
    if (type == "u32") return two<u32, u32, u32>([](u32 a, u32 b) { return u32(u64{a} * b >> 32); });
    if (type == "s32") return two<s32, s32, s32>([](s32 a, s32 b) { return s32(s64{a} * b >> 32); });
    if (type == "u64") return two<u64, u64, u64>([](u64 a, u64 b) { return u64((unsigned __int128)a * b >> 64); });
    if (type == "s64") return two<s64, s64, s64>([](s64 a, s64 b) { return s64((__int128)a * b >> 64); });
  }
  if (op == "mad.hi" && type == "u32")
    return three<u32, u32, u32>([](u32 a, u32 b, u32 c) { return u32(u64{a} * b >> 32) + c; });
  // Division by zero gives all ones; the most negative number divided by -1 itself.
  if (op == "div")
    return integers(type, []<class T> {
      return two<T, T, T>([](T a, T b) {
        return b == 0 ? T(-1) : std::is_signed_v<T> && b == T(-1) ? T(0 - Unsigned<T>(a)) : T(a / b);
      });
    });
  if (op == "rem")
    return integers(type, []<class T> {
      return two<T, T, T>([](T a, T b) { return b == 0 ? a : std::is_signed_v<T> && b == T(-1) ? T(0) : T(a % b); });
    });
  if (op == "min") return integers(type, []<class T> { return two<T, T, T>([](T a, T b) { return a < b ? a : b; }); });
  if (op == "max") return integers(type, []<class T> { return two<T, T, T>([](T a, T b) { return a > b ? a : b; }); });
  if (op == "abs")
    return integers(type, []<class T> { return one<T, T>([](T a) { return a < 0 ? T(0 - Unsigned<T>(a)) : a; }); });
  if (op == "neg") return integers(type, []<class T> { return one<T, T>([](T a) { return T(0 - Unsigned<T>(a)); }); });
  if (op == "and") return bits(type, []<class T> { return two<T, T, T>([](T a, T b) { return T(a & b); }); });
  if (op == "or") return bits(type, []<class T> { return two<T, T, T>([](T a, T b) { return T(a | b); }); });
  if (op == "xor") return bits(type, []<class T> { return two<T, T, T>([](T a, T b) { return T(a ^ b); }); });
  if (op == "not") return bits(type, []<class T> { return one<T, T>([](T a) { return T(~a); }); });
  // Shifts by more than the width give zeros, or the sign.
  if (op == "shl")
    return bits(
        type, []<class T> { return two<T, T, u32>([](T a, u32 n) { return n >= 8 * sizeof(T) ? T(0) : T(a << n); }); });
  if (op == "shr")
    return integers(type, []<class T> {
      return two<T, T, u32>([](T a, u32 n) { return n >= 8 * sizeof(T) ? T(a < 0 ? -1 : 0) : T(a >> n); });
    });
  if (op == "popc") return bits(type, []<class T> { return one<u32, T>([](T a) { return u32(std::popcount(a)); }); });
  if (op == "clz") return bits(type, []<class T> { return one<u32, T>([](T a) { return u32(std::countl_zero(a)); }); });
  if (op == "brev" && type == "b32")
    return one<u32, u32>([](u32 a) {
      u32 r = 0;
      for (int i = 0; i < 32; ++i) r |= (a >> i & 1u) << (31 - i);
      return r;
    });
  return nullptr;
}

template <class T>
T field(T a, u32 position, u32 length) {
  constexpr u32 kBits = 8 * sizeof(T);
  position &= 255u;
  length &= 255u;
  if (length == 0) return 0;
  const u32 last = std::min(position + length - 1, kBits - 1);
  const T sign = std::is_signed_v<T> ? T(a >> last & 1) : T(0);
  T result = 0;
  for (u32 i = 0; i < kBits; ++i) {
    const T bit = i < length && position + i < kBits ? T(a >> (position + i) & 1) : sign;
    result = T(Unsigned<T>(result) | Unsigned<T>(bit) << i);
  }
  return result;
}

template <class T>
T with_field(T a, T b, u32 position, u32 length) {
  for (u32 i = 0; i < (length & 255u) && (position & 255u) + i < 8 * sizeof(T); ++i) {
    const u32 to = (position & 255u) + i;
    b = T((b & ~(T(1) << to)) | (a >> i & 1) << to);
  }
  return b;
}

u32 picked_bytes(u32 a, u32 b, u32 selector) {
  const u64 all = u64{b} << 32 | a;
  u32 result = 0;
  for (u32 i = 0; i < 4; ++i) {
    const u32 pick = selector >> (4 * i) & 15u;
    u32 byte = static_cast<u32>(all >> (8 * (pick & 7u)) & 255u);
    if ((pick & 8u) != 0) byte = (byte & 128u) != 0 ? 255u : 0u;
    result |= byte << (8 * i);
  }
  return result;
}

// ---- floats ----

template <class T>
Step float_basic(const std::string& op) {
  if (op == "add") return two<T, T, T>([](T a, T b) { return a + b; });
  if (op == "sub") return two<T, T, T>([](T a, T b) { return a - b; });
  if (op == "mul") return two<T, T, T>([](T a, T b) { return a * b; });
  if (op == "div") return two<T, T, T>([](T a, T b) { return a / b; });
  if (op == "fma") return three<T, T, T>([](T a, T b, T c) { return std::fma(a, b, c); });
  if (op == "min") return two<T, T, T>([](T a, T b) { return std::fmin(a, b); });
  if (op == "max") return two<T, T, T>([](T a, T b) { return std::fmax(a, b); });
  if (op == "neg") return one<T, T>([](T a) { return -a; });
  if (op == "abs") return one<T, T>([](T a) { return std::fabs(a); });
  if (op == "sqrt") return one<T, T>([](T a) { return std::sqrt(a); });
  if (op == "rcp") return one<T, T>([](T a) { return T(1) / a; });
  if (op == "rsqrt") return one<T, T>([](T a) { return T(1) / std::sqrt(a); });
  if (op == "copysign") return two<T, T, T>([](T a, T b) { return std::copysign(b, a); });
  return nullptr;
}

// rounding: "", rn, rz, rm, rp, approx, full. Flushed forms are written out where nvcc makes them.
Step float_step(const std::string& op, const std::string& type, const std::string& rounding, bool flush,
                bool saturate) {
  if (type == "f32" && rounding == "approx") {
    if (op == "ex2") return one<float, float>([](float a) { return flushed(std::exp2(flushed(a))); });
    if (op == "lg2") return one<float, float>([](float a) { return std::log2(flushed(a)); });
    if (op == "sin") return one<float, float>([](float a) { return std::sin(a); });
    if (op == "cos") return one<float, float>([](float a) { return std::cos(a); });
    if (op == "tanh") return one<float, float>([](float a) { return std::tanh(a); });
    if (op == "rcp") return one<float, float>([](float a) { return flushed(1.0f / flushed(a)); });
    if (op == "rsqrt") return one<float, float>([](float a) { return 1.0f / std::sqrt(flushed(a)); });
    if (op == "sqrt") return one<float, float>([](float a) { return std::sqrt(flushed(a)); });
    if (op == "div") return two<float, float, float>([](float a, float b) { return flushed(flushed(a) / flushed(b)); });
    return nullptr;
  }
  if (flush) return nullptr;
  if (saturate) {
    if (type == "f32" && op == "add")
      return two<float, float, float>([](float a, float b) { return unit_clamp(a + b); });
    if (type == "f32" && op == "mul")
      return two<float, float, float>([](float a, float b) { return unit_clamp(a * b); });
    if (type == "f32" && op == "fma")
      return three<float, float, float>([](float a, float b, float c) { return unit_clamp(std::fma(a, b, c)); });
    return nullptr;
  }
  if (rounding.empty() || rounding == "rn" || rounding == "full") {
    return floats(type, [&]<class T> { return float_basic<T>(op); });
  }
  if (type == "f32" && op == "add" && rounding == "rz")
    return two<float, float, float>([](float a, float b) { return rounded<FE_TOWARDZERO>([&] { return sum(a, b); }); });
  if (type == "f32" && op == "add" && rounding == "rm")
    return two<float, float, float>([](float a, float b) { return rounded<FE_DOWNWARD>([&] { return sum(a, b); }); });
  if (type == "f32" && op == "fma" && rounding == "rm")
    return three<float, float, float>(
        [](float a, float b, float c) { return rounded<FE_DOWNWARD>([&] { return fused(a, b, c); }); });
  if (type == "f32" && op == "fma" && rounding == "rz")
    return three<float, float, float>(
        [](float a, float b, float c) { return rounded<FE_TOWARDZERO>([&] { return fused(a, b, c); }); });
  return nullptr;
}

// ---- comparisons ----

template <class T>
Step compare_step(const std::string& how) {
  if (how == "eq") return compare<T>([](T a, T b) { return a == b; });
  if (how == "lt" || how == "lo") return compare<T>([](T a, T b) { return a < b; });
  if (how == "le" || how == "ls") return compare<T>([](T a, T b) { return a <= b; });
  if (how == "gt" || how == "hi") return compare<T>([](T a, T b) { return a > b; });
  if (how == "ge" || how == "hs") return compare<T>([](T a, T b) { return a >= b; });
  if constexpr (std::is_floating_point_v<T>) {  // with a NaN: false, but for those that end in u
    if (how == "ne") return compare<T>([](T a, T b) { return a < b || a > b; });
    if (how == "neu") return compare<T>([](T a, T b) { return !(a == b); });
    if (how == "equ") return compare<T>([](T a, T b) { return !(a < b || a > b); });
    if (how == "ltu") return compare<T>([](T a, T b) { return !(a >= b); });
    if (how == "leu") return compare<T>([](T a, T b) { return !(a > b); });
    if (how == "gtu") return compare<T>([](T a, T b) { return !(a <= b); });
    if (how == "geu") return compare<T>([](T a, T b) { return !(a < b); });
    if (how == "num") return compare<T>([](T a, T b) { return a == a && b == b; });
    if (how == "nan") return compare<T>([](T a, T b) { return a != a || b != b; });
  } else {
    if (how == "ne") return compare<T>([](T a, T b) { return a != b; });
  }
  return nullptr;
}

void nothing(Warp&, const Instruction&, u32) {}

template <u32 kAbyte, u32 kBbyte>
s32 dot4(u32 a, u32 b, s32 c) {
  for (u32 i = 0; i < 4; ++i) {
    const u32 x = a >> (8 * i) & 255u, y = b >> (8 * i) & 255u;
    c = static_cast<s32>(static_cast<u32>(c) +
                         static_cast<u32>((kAbyte != 0 ? static_cast<int8_t>(x) : static_cast<s32>(x)) *
                                          (kBbyte != 0 ? static_cast<int8_t>(y) : static_cast<s32>(y))));
  }
  return c;
}

// ---- decoding ----

struct Decoder {
  const Statement& s;
  Rows& rows;
  Kernel& kernel;
  Instruction& out;
  size_t next = 0;

  [[noreturn]] void unknown() const {
    std::string opcode;
    for (const std::string& part : s.opcode) opcode += (opcode.empty() ? "" : ".") + part;
    throw Fault("PTX line " + std::to_string(s.line) + ": this machine does not know " + opcode +
                (s.arguments.empty() ? "" : " with these operands"));
  }
  static u32 bytes_of(const std::string& type) {
    if (type == "pred") return 0;
    const std::string digits = type.substr(1);
    if (digits != "8" && digits != "16" && digits != "32" && digits != "64") return 99;
    return static_cast<u32>(std::stoul(digits)) / 8;
  }
  const Argument& argument() {
    if (next >= s.arguments.size()) unknown();
    return s.arguments[next++];
  }
  void to(const Argument& a, u32 bytes) {
    if (a.kind == Argument::kSink) {
      out.to[out.n_to++] = Operand{};
      return;
    }
    if (a.kind != Argument::kRegister || a.reg.bytes != bytes) unknown();
    out.to[out.n_to++] = a.reg;
  }
  // A register of that size, or an immediate made to it.
  Operand value(const Argument& a, u32 bytes, bool floating) {
    if (a.kind == Argument::kRegister && a.reg.bytes == bytes && !a.negated) return a.reg;
    if (a.kind != Argument::kImmediate || bytes == 0) unknown();
    u64 bits = a.bits;
    if (floating && a.float_bytes != bytes) {
      if (a.float_bytes == 8 && bytes == 4) {
        bits = std::bit_cast<u32>(static_cast<float>(std::bit_cast<double>(bits)));
      } else if (a.float_bytes == 0 && bytes == 4) {
        bits = std::bit_cast<u32>(static_cast<float>(static_cast<s64>(bits)));
      } else {
        unknown();
      }
    }
    if (bytes < 8) bits &= (1ull << (8 * bytes)) - 1;
    return rows.immediate(bits, bytes);
  }
  void from(const Argument& a, u32 bytes, bool floating = false) { out.from[out.n_from++] = value(a, bytes, floating); }
  void predicate(const Argument& a, u32 negated_bit) {
    if (a.kind != Argument::kRegister || a.reg.bytes != 0) unknown();
    out.from[out.n_from++] = a.reg;
    if (a.negated) out.variant |= negated_bit;
  }
  void finish(Step step) {
    if (step == nullptr || next != s.arguments.size()) unknown();
    out.step = step;
  }
  bool has(const char* part) const {
    for (const std::string& p : s.opcode) {
      if (p == part) return true;
    }
    return false;
  }
  // The opcode without its head and type, one of these or nothing.
  std::string rounding() const {
    for (const char* r : {"rn", "rz", "rm", "rp", "approx", "full"}) {
      if (has(r)) return r;
    }
    return "";
  }

  void run();
  void memory(bool loads);
  void move();
  void arithmetic(const std::string& op, const std::string& type);
  void matrix();
  void copy();

  // 32-bit registers in braces, as many.
  void each_of(const Argument& a, u32 n, bool written) {
    if (a.kind != Argument::kVector || a.parts.size() != n) unknown();
    for (const Argument& part : a.parts) {
      if (part.kind != Argument::kRegister) unknown();
      written ? to(part, 4) : from(part, 4);
    }
  }
  void all_lanes() {  // of a warp have to be here together
    out.flow = Flow::kTogether;
    out.from[out.n_from++] = rows.immediate(~0u, 4);
  }
};

// mma of a row-major and a column-major matrix with 32-bit accumulators, and ldmatrix.
void Decoder::matrix() {
  if (s.opcode.size() < 6 || s.opcode[1] != "sync" || s.opcode[2] != "aligned") unknown();
  if (s.opcode[0] == "mma") {
    if (s.opcode.size() != 10 || s.opcode[4] != "row" || s.opcode[5] != "col") unknown();
    u32 a = 0, b = 0;
    const Step step =
        mma_step(s.opcode[3], s.opcode[6] + "." + s.opcode[7] + "." + s.opcode[8] + "." + s.opcode[9], &a, &b);
    if (step == nullptr) unknown();
    each_of(argument(), 4, true);
    each_of(argument(), a, false);
    each_of(argument(), b, false);
    each_of(argument(), 4, false);
    all_lanes();
    return finish(step);
  }
  out.variant = s.opcode[5] == "trans" ? 1 : 0;
  if (s.opcode.size() != 7u + out.variant) unknown();
  const std::string &n = s.opcode[4], &space = s.opcode[5 + out.variant];
  if (s.opcode[3] != "m8n8" || (n != "x1" && n != "x2" && n != "x4") || (space != "shared" && space != "shared::cta") ||
      s.opcode.back() != "b16") {
    unknown();
  }
  each_of(argument(), static_cast<u32>(n[1] - '0'), true);
  const Argument& address = argument();
  if (address.kind != Argument::kAddress) unknown();
  out.offset = address.offset;
  out.from[out.n_from++] = address.reg;
  all_lanes();
  finish(load_matrices);
}

// cp.async.{ca,cg}.shared.global, commit_group, wait_group, wait_all.
void Decoder::copy() {
  const auto is = [&](size_t i, const char* part) { return i < s.opcode.size() && s.opcode[i] == part; };
  if (!is(1, "async")) unknown();
  if (is(2, "commit_group") && s.opcode.size() == 3) return finish(commit_copies);
  if ((is(2, "wait_group") || is(2, "wait_all")) && s.opcode.size() == 3) {
    out.variant = ~0u;  // all, those of no group yet too
    if (is(2, "wait_group")) {
      const Argument& n = argument();
      if (n.kind != Argument::kImmediate) unknown();
      out.variant = static_cast<u32>(n.bits);
    }
    return finish(wait_for_copies);
  }
  if (s.opcode.size() != 5 || !(is(2, "ca") || is(2, "cg")) || !(is(3, "shared") || is(3, "shared::cta")) ||
      !is(4, "global")) {
    unknown();
  }
  const Argument &to = argument(), &source = argument(), &bytes = argument();
  if (to.kind != Argument::kAddress || source.kind != Argument::kAddress || bytes.kind != Argument::kImmediate ||
      (bytes.bits != 16 && (is(2, "cg") || (bytes.bits != 4 && bytes.bits != 8)))) {
    unknown();
  }
  if (to.offset != 0) unknown();  // an instruction has one offset: the source's
  out.offset = source.offset;
  out.variant = static_cast<u32>(bytes.bits);
  out.from[out.n_from++] = to.reg;
  out.from[out.n_from++] = source.reg;
  kernel.shared_granule = std::min(kernel.shared_granule, out.variant);
  kernel.global_granule = std::min(kernel.global_granule, out.variant);
  finish(start_copy);
}

void Decoder::memory(bool loads) {
  const std::string& type = s.opcode.back();
  u32 n = 1;
  for (size_t i = 1; i + 1 < s.opcode.size(); ++i) {
    const std::string& part = s.opcode[i];
    if (part == "global" || part == "const") {
      out.space = Space::kGlobal;
    } else if (part == "shared" || part == "shared::cta") {
      out.space = Space::kShared;
    } else if (part == "local") {
      out.space = Space::kLocal;
    } else if (part == "param") {
      out.space = Space::kParam;
    } else if (part == "v2" || part == "v4") {
      n = part == "v2" ? 2 : 4;
    } else if (part != "nc" && part != "volatile" && part != "relaxed" && part != "weak" && part != "cta" &&
               part != "gpu" && !part.starts_with("L1::") && part != "cg" && part != "ca" && part != "cs") {
      unknown();
    }
  }
  const u32 bytes = bytes_of(type);
  const Argument *values = nullptr, *address = nullptr;
  if (loads) {
    values = &argument();
    address = &argument();
  } else {
    address = &argument();
    values = &argument();
  }
  if (address->kind != Argument::kAddress || (values->kind == Argument::kVector ? values->parts.size() : 1) != n)
    unknown();
  for (u32 i = 0; i < n; ++i) {
    const Argument& v = values->kind == Argument::kVector ? values->parts[i] : *values;
    if (loads) {
      if (v.kind == Argument::kSink) {
        out.to[out.n_to++] = Operand{};
      } else {
        if (v.kind != Argument::kRegister || v.reg.bytes < std::max(bytes, 2u)) unknown();
        out.to[out.n_to++] = v.reg;
      }
    } else if (v.kind == Argument::kRegister) {
      if (v.reg.bytes < std::max(bytes, 2u)) unknown();
      out.from[out.n_from++] = v.reg;
    } else {
      from(v, std::max(bytes, 2u), type[0] == 'f');
    }
  }
  out.offset = address->offset;
  out.from[out.n_from++] = address->reg;
  if (out.space == Space::kShared) kernel.shared_granule = std::min(kernel.shared_granule, bytes);
  if (out.space == Space::kGlobal || out.space == Space::kGeneric) {
    kernel.global_granule = std::min(kernel.global_granule, bytes);
  }
  finish(loads ? load_step(type) : store_step(type));
}

void Decoder::move() {
  const std::string& type = s.opcode.back();
  const Argument &d = argument(), &a = argument();
  if (type == "pred") {
    to(d, 0);
    if (a.kind == Argument::kImmediate) {
      out.variant = a.bits != 0 ? ~0u : 0u;
      return finish([](Warp& w, const Instruction& in, u32 mask) { set_truth(w, in.to[0], mask, in.variant); });
    }
    predicate(a, 1);
    return finish([](Warp& w, const Instruction& in, u32 mask) {
      const u32 v = w.truth[in.from[0].index];
      set_truth(w, in.to[0], mask, (in.variant & 1) != 0 ? ~v : v);
    });
  }
  const u32 bytes = bytes_of(type);
  if (a.kind == Argument::kVector) {  // packed, the first is the lowest
    to(d, bytes);
    const u32 each = bytes / static_cast<u32>(a.parts.size());
    for (const Argument& part : a.parts) from(part, each);
    return finish([](Warp& w, const Instruction& in, u32 mask) {
      each_lane(mask, [&](u32 lane) {
        u64 v = 0;
        for (u32 i = 0; i < in.n_from; ++i) v |= bits_of(w, in.from[i], lane) << (8 * in.from[i].bytes * i);
        set_bits(w, in.to[0], lane, v);
      });
    });
  }
  if (d.kind == Argument::kVector) {
    const u32 each = bytes / static_cast<u32>(d.parts.size());
    for (const Argument& part : d.parts) to(part, each);
    out.variant = each;
    from(a, bytes);
    return finish([](Warp& w, const Instruction& in, u32 mask) {
      each_lane(mask, [&](u32 lane) {
        const u64 v = bits_of(w, in.from[0], lane);
        for (u32 i = 0; i < in.n_to; ++i) {
          if (in.to[i].index != kNone) set_bits(w, in.to[i], lane, v >> (8 * in.variant * i));
        }
      });
    });
  }
  to(d, bytes);
  from(a, bytes, type[0] == 'f');
  finish(bytes == 4   ? one<u32, u32>([](u32 v) { return v; })
         : bytes == 8 ? one<u64, u64>([](u64 v) { return v; })
                      : one<u16, u16>([](u16 v) { return v; }));
}

// Operands of one type each: how many the opcode takes follows from the statement.
void Decoder::arithmetic(const std::string& op, const std::string& type) {
  const bool floating = type[0] == 'f';
  const u32 bytes = bytes_of(type);
  std::string full = op;
  u32 result = bytes, last = bytes;
  for (const char* part : {"lo", "hi", "wide"}) {
    if (has(part)) full += std::string(".") + part;
  }
  if (has("wide")) result = last = 2 * bytes;
  if (op == "popc" || op == "clz") result = 4;
  to(argument(), result);
  const size_t n = s.arguments.size() - 1;
  for (size_t i = 0; i < n; ++i) {
    const bool amount = (op == "shl" || op == "shr") && i == 1;
    from(argument(), amount ? 4 : n == 3 && i == 2 ? last : bytes, floating);
  }
  for (size_t i = 1; i + 1 < s.opcode.size(); ++i) {
    const std::string& part = s.opcode[i];
    if (part != "lo" && part != "hi" && part != "wide" && part != "ftz" && part != "sat" && part != rounding())
      unknown();
  }
  finish(floating ? float_step(op, type, rounding(), has("ftz"), has("sat")) : integer_step(full, type));
}

void Decoder::run() {
  const std::string &op = s.opcode[0], &type = s.opcode.back();
  if (op == "ld" || op == "ldu") return memory(true);
  if (op == "st") return memory(false);
  if (op == "mov") return move();
  if (op == "mma" || op == "ldmatrix") return matrix();
  if (op == "cp") return copy();
  if (op == "cvta") {
    const bool to_space = has("to");
    u64 base = has("shared") ? kSharedBase : has("local") ? kLocalBase : has("param") ? kParamBase : 0;
    if (to_space) base = 0 - base;
    to(argument(), 8);
    from(argument(), 8);
    out.from[out.n_from++] = rows.immediate(base, 8);
    return finish(two<u64, u64, u64>([](u64 a, u64 b) { return a + b; }));
  }
  if (op == "cvt" && s.opcode.size() == 4 && s.opcode[1] == "rn" && type == "f32" &&
      (s.opcode[2] == "f16x2" || s.opcode[2] == "bf16x2")) {  // the first source goes into the upper half
    to(argument(), 4);
    from(argument(), 4, true);
    from(argument(), 4, true);
    if (s.opcode[2] == "bf16x2") {
      return finish(
          two<u32, float, float>([](float a, float b) { return u32{float_to_bfloat(a)} << 16 | float_to_bfloat(b); }));
    }
    return finish(
        two<u32, float, float>([](float a, float b) { return u32{float_to_half(a)} << 16 | float_to_half(b); }));
  }
  if (type == "f16x2" && (op == "sub" || (op == "fma" && rounding() == "rn"))) {
    to(argument(), 4);
    for (size_t i = 1; i < s.arguments.size(); ++i) from(argument(), 4);
    if (op == "sub") return finish(two<u32, u32, u32>([](u32 a, u32 b) { return two_halves(a, kTwoOnes, b, true); }));
    return finish(three<u32, u32, u32>([](u32 a, u32 b, u32 c) { return two_halves(a, b, c, false); }));
  }
  if (op == "cvt") {
    const std::string& source = type;
    const std::string& target = s.opcode[s.opcode.size() - 2];
    std::string rounding;
    bool saturate = false, flush = false;
    for (size_t i = 1; i + 2 < s.opcode.size(); ++i) {
      if (s.opcode[i] == "sat") {
        saturate = true;
      } else if (s.opcode[i] == "ftz") {
        flush = true;
      } else {
        rounding = s.opcode[i];
      }
    }
    const Argument &d = argument(), &a = argument();
    if (d.kind != Argument::kRegister || d.reg.bytes < std::max(bytes_of(target), 2u)) unknown();
    out.to[out.n_to++] = d.reg;
    if (a.kind == Argument::kRegister) {
      if (a.reg.bytes < std::max(bytes_of(source), 2u)) unknown();
      out.from[out.n_from++] = a.reg;
    } else {
      from(a, std::max(bytes_of(source), 2u), source[0] == 'f');
    }
    return finish(convert_step(target, source, rounding, saturate, flush));
  }
  if (op == "setp") {
    const bool floating = type[0] == 'f';
    const u32 bytes = bytes_of(type);
    const bool combined = s.opcode.size() >= 4 && (s.opcode[2] == "and" || s.opcode[2] == "or");
    if (s.opcode.size() != (combined ? 4u : 3u)) unknown();
    const size_t n_from = combined ? 3 : 2;
    for (size_t i = 0; i + n_from < s.arguments.size(); ++i) to(argument(), 0);
    from(argument(), bytes, floating);
    from(argument(), bytes, floating);
    if (combined) {
      out.variant = s.opcode[2] == "and" ? 1 : 2;
      predicate(argument(), 4);
    }
    const std::string& how = s.opcode[1];
    if (floating) return finish(floats(type, [&]<class T> { return compare_step<T>(how); }));
    return finish(integers(type, [&]<class T> { return compare_step<T>(how); }));
  }
  if (op == "selp") {
    const u32 bytes = bytes_of(type);
    to(argument(), bytes);
    from(argument(), bytes, type[0] == 'f');
    from(argument(), bytes, type[0] == 'f');
    predicate(argument(), 1);
    const auto select = []<class T> {
      return +[](Warp& w, const Instruction& in, u32 mask) {
        u32 truth = w.truth[in.from[2].index];
        if ((in.variant & 1) != 0) truth = ~truth;
        T* d = w.row<T>(in.to[0]);
        const T *a = w.row<T>(in.from[0]), *b = w.row<T>(in.from[1]);
        each_lane(mask, [=](u32 l) { d[l] = (truth >> l & 1) != 0 ? a[l] : b[l]; });
      };
    };
    return finish(bytes == 4   ? select.operator()<u32>()
                  : bytes == 8 ? select.operator()<u64>()
                               : select.operator()<u16>());
  }
  if ((op == "and" || op == "or" || op == "xor" || op == "not") && type == "pred") {
    to(argument(), 0);
    predicate(argument(), 1);
    // With a number that is true, xor is not.
    const bool inverts = op == "not" || (op == "xor" && s.arguments.back().kind == Argument::kImmediate);
    if (inverts && op == "xor" && argument().bits == 0) unknown();
    if (!inverts) predicate(argument(), 2);
    const auto a = [](Warp& w, const Instruction& in) {
      return (in.variant & 1) != 0 ? ~w.truth[in.from[0].index] : w.truth[in.from[0].index];
    };
    static constexpr auto first = a;
    static constexpr auto second = [](Warp& w, const Instruction& in) {
      return (in.variant & 2) != 0 ? ~w.truth[in.from[1].index] : w.truth[in.from[1].index];
    };
    if (inverts)
      return finish([](Warp& w, const Instruction& in, u32 m) { set_truth(w, in.to[0], m, ~first(w, in)); });
    if (op == "and")
      return finish(
          [](Warp& w, const Instruction& in, u32 m) { set_truth(w, in.to[0], m, first(w, in) & second(w, in)); });
    if (op == "or")
      return finish(
          [](Warp& w, const Instruction& in, u32 m) { set_truth(w, in.to[0], m, first(w, in) | second(w, in)); });
    return finish(
        [](Warp& w, const Instruction& in, u32 m) { set_truth(w, in.to[0], m, first(w, in) ^ second(w, in)); });
  }
  if (op == "bar" || op == "barrier") {
    if (has("warp")) {
      out.flow = Flow::kWarpBarrier;
      from(argument(), 4);
      return finish(nothing);
    }
    const Argument& number = argument();
    if (!has("sync") || number.kind != Argument::kImmediate || number.bits != 0) unknown();
    out.flow = Flow::kBarrier;
    return finish(nothing);
  }
  if (op == "shfl") {
    static const std::map<std::string, u32> kinds = {{"idx", 0}, {"up", 1}, {"down", 2}, {"bfly", 3}};
    if (s.opcode.size() != 4 || s.opcode[1] != "sync" || type != "b32" || !kinds.contains(s.opcode[2])) unknown();
    out.variant = kinds.at(s.opcode[2]);
    to(argument(), 4);
    if (s.arguments.size() == 6) to(argument(), 0);
    for (int i = 0; i < 4; ++i) from(argument(), 4);
    out.flow = Flow::kTogether;  // the last operand names the lanes
    return finish(shuffle);
  }
  if (op == "vote") {
    static const std::map<std::string, u32> kinds = {{"ballot", 0}, {"any", 1}, {"all", 2}};
    if (s.opcode.size() != 4 || s.opcode[1] != "sync" || !kinds.contains(s.opcode[2])) unknown();
    out.variant = kinds.at(s.opcode[2]);
    to(argument(), out.variant == 0 ? 4 : 0);
    predicate(argument(), 4);
    from(argument(), 4);
    out.flow = Flow::kTogether;
    return finish(vote);
  }
  if (op == "redux") {
    to(argument(), 4);
    from(argument(), 4);
    from(argument(), 4);
    out.flow = Flow::kTogether;
    return finish(reduce_step(s.opcode[2], type));
  }
  if (op == "bfe") {
    const u32 bytes = bytes_of(type);
    to(argument(), bytes);
    from(argument(), bytes);
    from(argument(), 4);
    from(argument(), 4);
    return finish(integers(type, []<class T> {
      return +[](Warp& w, const Instruction& in, u32 mask) {
        each_lane(mask, [&](u32 l) {
          w.row<T>(in.to[0])[l] =
              field<T>(w.row<T>(in.from[0])[l], w.row<u32>(in.from[1])[l], w.row<u32>(in.from[2])[l]);
        });
      };
    }));
  }
  if (op == "bfi") {
    const u32 bytes = bytes_of(type);
    to(argument(), bytes);
    from(argument(), bytes);
    from(argument(), bytes);
    from(argument(), 4);
    from(argument(), 4);
    return finish(bits(type, []<class T> {
      return +[](Warp& w, const Instruction& in, u32 mask) {
        each_lane(mask, [&](u32 l) {
          w.row<T>(in.to[0])[l] = with_field<T>(w.row<T>(in.from[0])[l], w.row<T>(in.from[1])[l],
                                                w.row<u32>(in.from[2])[l], w.row<u32>(in.from[3])[l]);
        });
      };
    }));
  }
  if (op == "prmt" && s.opcode.size() == 2) {
    to(argument(), 4);
    for (int i = 0; i < 3; ++i) from(argument(), 4);
    return finish(three<u32, u32, u32>([](u32 a, u32 b, u32 c) { return picked_bytes(a, b, c); }));
  }
  if (op == "shf") {
    to(argument(), 4);
    for (int i = 0; i < 3; ++i) from(argument(), 4);
    if (s.opcode.size() != 4 || s.opcode[2] != "wrap") unknown();
    if (s.opcode[1] == "l")
      return finish(
          three<u32, u32, u32>([](u32 a, u32 b, u32 c) { return u32((u64{b} << 32 | a) << (c & 31u) >> 32); }));
    return finish(three<u32, u32, u32>([](u32 a, u32 b, u32 c) { return u32((u64{b} << 32 | a) >> (c & 31u)); }));
  }
  if (op == "lop3") {
    to(argument(), 4);
    for (int i = 0; i < 3; ++i) from(argument(), 4);
    const Argument& table = argument();
    if (table.kind != Argument::kImmediate) unknown();
    out.variant = static_cast<u32>(table.bits);
    return finish([](Warp& w, const Instruction& in, u32 mask) {
      const u32 *a = w.row<u32>(in.from[0]), *b = w.row<u32>(in.from[1]), *c = w.row<u32>(in.from[2]);
      each_lane(mask, [&](u32 l) {
        u32 r = 0;
        for (u32 i = 0; i < 8; ++i) {
          if ((in.variant >> i & 1) != 0)
            r |= ((i & 4) != 0 ? a[l] : ~a[l]) & ((i & 2) != 0 ? b[l] : ~b[l]) & ((i & 1) != 0 ? c[l] : ~c[l]);
        }
        w.row<u32>(in.to[0])[l] = r;
      });
    });
  }
  if (op == "dp4a" && s.opcode.size() == 3) {
    to(argument(), 4);
    for (int i = 0; i < 3; ++i) from(argument(), 4);
    const bool a = s.opcode[1] == "s32", b = s.opcode[2] == "s32";
    if (a && b) return finish(three<s32, u32, s32>([](u32 x, u32 y, s32 z) { return dot4<1, 1>(x, y, z); }));
    if (a) return finish(three<s32, u32, s32>([](u32 x, u32 y, s32 z) { return dot4<1, 0>(x, y, z); }));
    if (b) return finish(three<s32, u32, s32>([](u32 x, u32 y, s32 z) { return dot4<0, 1>(x, y, z); }));
    return finish(three<s32, u32, s32>([](u32 x, u32 y, s32 z) { return dot4<0, 0>(x, y, z); }));
  }
  if (op == "trap") {
    return finish([](Warp& w, const Instruction& in, u32 mask) {
      fail_in(w, in, static_cast<u32>(std::countr_zero(mask)), "trap");
    });
  }
  arithmetic(op, type);
}

}  // namespace

void decode(const Statement& statement, Rows& rows, Kernel& kernel, Instruction& out) {
  Decoder{statement, rows, kernel, out}.run();
}

}  // namespace ptx
