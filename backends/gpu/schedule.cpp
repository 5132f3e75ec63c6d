#include "schedule.hpp"

namespace brim_gpu {
namespace {

bool meet(const Range* a, uint32_t n_a, const Range* b, uint32_t n_b) {
  for (uint32_t i = 0; i < n_a; ++i) {
    for (uint32_t j = 0; j < n_b; ++j) {
      if (overlap(a[i], b[j])) return true;
    }
  }
  return false;
}

}  // namespace

bool conflict(const Touches& before, const Touches& after) {
  return meet(before.written, before.n_written, after.read, after.n_read) ||
         meet(before.read, before.n_read, after.written, after.n_written) ||
         meet(before.written, before.n_written, after.written, after.n_written);
}

uint32_t schedule(const Array<Touches>& launches, Array<uint32_t>& level) {
  uint32_t levels = 0;
  level.assign(launches.size(), 0);
  for (size_t i = 0; i < launches.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (level[j] >= level[i] && conflict(launches[j], launches[i])) level[i] = level[j] + 1;
    }
    levels = std::max(levels, level[i] + 1);
  }
  return levels;
}

}  // namespace brim_gpu
