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
constexpr uint32_t kMatvecDot[] = {
#include <matvec_dot.inc>
};
constexpr uint32_t kNorm[] = {
#include <norm.inc>
};
constexpr uint32_t kQuantise[] = {
#include <quantise.inc>
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
    {"attention", kAttention, sizeof kAttention},
    {"attention_join", kAttentionJoin, sizeof kAttentionJoin},
    {"batched", kBatched, sizeof kBatched},
    {"combine", kCombine, sizeof kCombine},
    {"conv", kConv, sizeof kConv},
    {"copy", kCopy, sizeof kCopy},
    {"elementwise", kElementwise, sizeof kElementwise},
    {"gather", kGather, sizeof kGather},
    {"kv_write", kKvWrite, sizeof kKvWrite},
    {"linear_attention", kLinearAttention, sizeof kLinearAttention},
    {"matmul", kMatmul, sizeof kMatmul},
    {"matvec", kMatvec, sizeof kMatvec},
    {"matvec_dot", kMatvecDot, sizeof kMatvecDot},
    {"norm", kNorm, sizeof kNorm},
    {"quantise", kQuantise, sizeof kQuantise},
    {"rope", kRope, sizeof kRope},
    {"rope_angles", kRopeAngles, sizeof kRopeAngles},
    {"route", kRoute, sizeof kRoute},
    {"scatter", kScatter, sizeof kScatter},
    {"select", kSelect, sizeof kSelect},
};

}  // namespace

const Module& module_of(Kernel kernel) { return kModules[static_cast<uint32_t>(kernel)]; }

}  // namespace brim_vulkan
