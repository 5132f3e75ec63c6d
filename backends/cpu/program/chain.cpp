// Which steps go through their rows together.
//
// A chain does, for every row, what its steps do, one after the other; in a program each would have finished all rows
// before the next. The two are the same if no step of the chain touches, in a row, what another writes in a different
// one: where the storage of two operands meets and one of them is written, both must be the very same rows.
#include <algorithm>

#include "program/schedule.hpp"

namespace brim_cpu {
namespace {

bool equal(brim_dim a, brim_dim b) { return a.sym == b.sym && a.k == b.k; }

bool same_rows(const Tensor* a, const Tensor* b) {
  if (a == nullptr || b == nullptr || a->data != b->data || a->in_step != b->in_step || a->rank != b->rank)
    return false;
  for (uint32_t i = 0; i < a->rank; ++i) {
    if (!equal(a->dim[i], b->dim[i]) || a->stride[i] != b->stride[i]) return false;
  }
  return true;
}

bool as_many_rows(const Tensor& a, const Tensor& b) {
  return a.rank == b.rank && std::equal(a.dim, a.dim + a.rank - 1, b.dim, equal);
}

bool row_by_row(const PlannedStep& before, const PlannedStep& after) {
  for (uint32_t i = 0; i < before.n_operands; ++i) {
    for (uint32_t j = 0; j < after.n_operands; ++j) {
      const RowOperand &a = before.operands[i], &b = after.operands[j];
      if ((a.written || b.written) && meet(&a.range, 1, &b.range, 1) && !same_rows(a.tensor, b.tensor)) return false;
    }
  }
  return true;
}

// Adds what `more` touches; false, with nothing changed, where there is no room.
bool unite(Touches& touches, const Touches& more) {
  const auto add = [](Range* all, uint32_t* n, const Range* from, uint32_t n_from) {
    for (uint32_t i = 0; i < n_from; ++i) {
      const auto known = [&](const Range& r) { return r.begin == from[i].begin && r.end == from[i].end; };
      if (std::any_of(all, all + *n, known)) continue;
      if (*n == Touches::kMost) return false;
      all[(*n)++] = from[i];
    }
    return true;
  };
  Touches united = touches;
  if (!add(united.read, &united.n_read, more.read, more.n_read) ||
      !add(united.written, &united.n_written, more.written, more.n_written)) {
    return false;
  }
  touches = united;
  return true;
}

bool can_join(const PlannedStep* chain, const PlannedStep& step) {
  if (chain->rows == nullptr || !as_many_rows(*chain->rows, *step.rows)) return false;
  return std::all_of(chain, chain + chain->chained, [&](const PlannedStep& of) { return row_by_row(of, step); });
}

}  // namespace

void chain_rows(Array<PlannedStep>& steps) {
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].rows == nullptr) continue;
    // The last step before this one that it has to come after; those between may as well come later.
    size_t j = i;
    while (j > 0 && (steps[j - 1].chained == 0 || !conflict(steps[j - 1].touches, steps[i].touches))) --j;
    if (j == 0) continue;
    PlannedStep& first = steps[j - 1];
    if (!can_join(&first, steps[i]) || !unite(first.touches, steps[i].touches)) continue;
    steps[i].chained = 0;
    const auto end = steps.begin() + static_cast<ptrdiff_t>(j - 1 + first.chained);
    ++first.chained;
    std::rotate(end, steps.begin() + static_cast<ptrdiff_t>(i), steps.begin() + static_cast<ptrdiff_t>(i) + 1);
  }
}

}  // namespace brim_cpu
