// Where K and V of a token lie (backends/gpu/kv.hpp), in the dtype kKv: F32, F16 or Q8_0.
layout(constant_id = 1) const uint kKv = 1;
const uint kKvF32 = 1, kKvF16 = 2;
const uint kBlockTokens = 32, kRun = 32;

float kv_value(uint64_t codes, uint i, float scale) {
  if (kKv == kKvF32) return Floats(codes).at[i];
  if (kKv == kKvF16) return half_to_float(uint(Halves(codes).at[i]));
  return scale * float(int(uint(Bytes(codes).at[i]) << 24) >> 24);
}
float kv_scale(uint64_t scales, uint i) { return kKv <= kKvF16 ? 1.0 : half_to_float(uint(Halves(scales).at[i])); }
