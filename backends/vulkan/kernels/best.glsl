// The best of many by value, the lower index first of equal ones, NaN behind all: over the work group, the same in
// every thread. An index of kNone stands for nothing and ranks last.
const uint kNone = 0xffffffffu;
shared float best_value[gl_WorkGroupSize.x];
shared uint best_index[gl_WorkGroupSize.x];

bool ranks_before(float a, uint ia, float b, uint ib) {
  if (ia == kNone || ib == kNone) return ia != kNone;
  const bool na = is_nan(a), nb = is_nan(b);
  if (na != nb) return nb;
  return !na && a != b ? a > b : ia < ib;
}

void work_group_best(inout float value, inout uint index) {
  const uint me = gl_LocalInvocationIndex;
  barrier();
  best_value[me] = value;
  best_index[me] = index;
  for (uint left = gl_WorkGroupSize.x; left > 1;) {
    const uint half_left = (left + 1) / 2;
    barrier();
    if (me + half_left < left &&
        ranks_before(best_value[me + half_left], best_index[me + half_left], best_value[me], best_index[me])) {
      best_value[me] = best_value[me + half_left];
      best_index[me] = best_index[me + half_left];
    }
    left = half_left;
  }
  barrier();
  value = best_value[0];
  index = best_index[0];
}
