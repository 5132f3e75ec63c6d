// Names of ops and of their feature bits, as ops.h writes them.
#include <brim/ops.h>
#include <fmt/format.h>

#include "run.hpp"

namespace check::ops {
namespace {

struct OpName {
  uint32_t op;
  const char* name;
};
#define BRIM_CHECK_OP(name) \
  OpName { BRIM_OP_##name, #name }
constexpr OpName kOps[] = {BRIM_CHECK_OP(COPY),
                           BRIM_CHECK_OP(CONCAT),
                           BRIM_CHECK_OP(GATHER_ROWS),
                           BRIM_CHECK_OP(SCATTER_ROWS),
                           BRIM_CHECK_OP(UNARY),
                           BRIM_CHECK_OP(BINARY),
                           BRIM_CHECK_OP(AFFINE_CLAMP),
                           BRIM_CHECK_OP(GLU),
                           BRIM_CHECK_OP(SOFTMAX),
                           BRIM_CHECK_OP(RMS_NORM),
                           BRIM_CHECK_OP(LAYER_NORM),
                           BRIM_CHECK_OP(L2_NORM),
                           BRIM_CHECK_OP(ARGMAX),
                           BRIM_CHECK_OP(TOPK),
                           BRIM_CHECK_OP(MATMUL),
                           BRIM_CHECK_OP(GROUPED_MATMUL),
                           BRIM_CHECK_OP(MOE_ROUTE),
                           BRIM_CHECK_OP(MOE_COMBINE),
                           BRIM_CHECK_OP(ROPE),
                           BRIM_CHECK_OP(KV_WRITE),
                           BRIM_CHECK_OP(ATTENTION),
                           BRIM_CHECK_OP(CAUSAL_CONV1D),
                           BRIM_CHECK_OP(LINEAR_ATTENTION)};
#undef BRIM_CHECK_OP

struct BitName {
  uint32_t op;
  uint64_t bit;
  const char* name;
};
constexpr BitName kBits[] = {{BRIM_OP_AFFINE_CLAMP, BRIM_AFFINE_SOFTCAP, "SOFTCAP"},
                             {BRIM_OP_MATMUL, BRIM_MATMUL_BIAS, "BIAS"},
                             {BRIM_OP_MATMUL, BRIM_MATMUL_BATCHED, "BATCHED"},
                             {BRIM_OP_MATMUL, BRIM_MATMUL_HEADS, "HEADS"},
                             {BRIM_OP_GROUPED_MATMUL, BRIM_GROUPED_MATMUL_BIAS, "BIAS"},
                             {BRIM_OP_MOE_ROUTE, BRIM_MOE_ROUTE_BIAS, "BIAS"},
                             {BRIM_OP_MOE_ROUTE, BRIM_MOE_ROUTE_GROUPS, "GROUPS"},
                             {BRIM_OP_ROPE, BRIM_ROPE_YARN, "YARN"},
                             {BRIM_OP_ROPE, BRIM_ROPE_FACTORS, "FACTORS"},
                             {BRIM_OP_ATTENTION, BRIM_ATTENTION_CAUSAL, "CAUSAL"},
                             {BRIM_OP_ATTENTION, BRIM_ATTENTION_SLIDING_WINDOW, "SLIDING_WINDOW"},
                             {BRIM_OP_ATTENTION, BRIM_ATTENTION_SOFTCAP, "SOFTCAP"},
                             {BRIM_OP_ATTENTION, BRIM_ATTENTION_SINKS, "SINKS"},
                             {BRIM_OP_ATTENTION, BRIM_ATTENTION_V_FROM_K, "V_FROM_K"},
                             {BRIM_OP_CAUSAL_CONV1D, BRIM_CONV1D_BIAS, "BIAS"},
                             {BRIM_OP_LINEAR_ATTENTION, BRIM_LINEAR_DECAY, "DECAY"},
                             {BRIM_OP_LINEAR_ATTENTION, BRIM_LINEAR_DELTA, "DELTA"},
                             {BRIM_OP_LINEAR_ATTENTION, BRIM_LINEAR_HEADS_MODULO, "HEADS_MODULO"}};

}  // namespace

std::string op_name(uint32_t op) {
  for (const OpName& known : kOps) {
    if (known.op == op) return known.name;
  }
  return fmt::format("op {}", op);
}

std::string feature_names(uint32_t op, uint64_t must) {
  std::string out;
  for (const BitName& known : kBits) {
    if (known.op != op || (must & known.bit) == 0) continue;
    out += (out.empty() ? "" : "+") + std::string(known.name);
    must &= ~known.bit;
  }
  if (must != 0) out += fmt::format("{}{:#x}", out.empty() ? "" : "+", must);
  return out.empty() ? "-" : out;
}

}  // namespace check::ops
