#include "kernels/kernels.hpp"

namespace brim_vulkan {
namespace {

// Each .inc is what glslc prints of one kernel: numbers and commas.
constexpr uint32_t kAttention[] = {
#include <attention.inc>
};
constexpr uint32_t kAttentionJoin[] = {
#include <attention_join.inc>
};
constexpr uint32_t kBatched[] = {
#include <batched.inc>
};
constexpr uint32_t kCombine[] = {
#include <combine.inc>
};
constexpr uint32_t kConv[] = {
#include <conv.inc>
};
constexpr uint32_t kCopy[] = {
#include <copy.inc>
};
constexpr uint32_t kElementwise[] = {
#include <elementwise.inc>
};
constexpr uint32_t kGather[] = {
#include <gather.inc>
};
constexpr uint32_t kKvWrite[] = {
#include <kv_write.inc>
};
constexpr uint32_t kLinearAttention[] = {
#include <linear_attention.inc>
};
constexpr uint32_t kMatmul[] = {
#include <matmul.inc>
};
constexpr uint32_t kMatvec[] = {
#include <matvec.inc>
};
constexpr uint32_t kNorm[] = {
#include <norm.inc>
};
constexpr uint32_t kRope[] = {
#include <rope.inc>
};
constexpr uint32_t kRopeAngles[] = {
#include <rope_angles.inc>
};
constexpr uint32_t kRoute[] = {
#include <route.inc>
};
constexpr uint32_t kScatter[] = {
#include <scatter.inc>
};
constexpr uint32_t kSelect[] = {
#include <select.inc>
};

// In the order of Kernel.
constexpr Module kModules[kKernels] = {
    {"attention", kAttention, sizeof kAttention, 64},
    {"attention_join", kAttentionJoin, sizeof kAttentionJoin, 64},
    {"batched", kBatched, sizeof kBatched, 64},
    {"combine", kCombine, sizeof kCombine, 64},
    {"conv", kConv, sizeof kConv, 64},
    {"copy", kCopy, sizeof kCopy, 64},
    {"elementwise", kElementwise, sizeof kElementwise, 64},
    {"gather", kGather, sizeof kGather, 64},
    {"kv_write", kKvWrite, sizeof kKvWrite, 64},
    {"linear_attention", kLinearAttention, sizeof kLinearAttention, 32},
    {"matmul", kMatmul, sizeof kMatmul, 256},
    {"matvec", kMatvec, sizeof kMatvec, 64},
    {"norm", kNorm, sizeof kNorm, 64},
    {"rope", kRope, sizeof kRope, 64},
    {"rope_angles", kRopeAngles, sizeof kRopeAngles, 64},
    {"route", kRoute, sizeof kRoute, 64},
    {"scatter", kScatter, sizeof kScatter, 64},
    {"select", kSelect, sizeof kSelect, 64},
};

}  // namespace

const Module& module_of(Kernel kernel) { return kModules[static_cast<uint32_t>(kernel)]; }

}  // namespace brim_vulkan
