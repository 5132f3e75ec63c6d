// Sums and maxima over the work group, the same in every thread. Every thread has to take part.
shared float reduced[gl_WorkGroupSize.x];

float work_group_sum(float x) {
  const float part = subgroupAdd(x);
  barrier();
  if (subgroupElect()) reduced[gl_SubgroupID] = part;
  barrier();
  float sum = 0;
  for (uint i = 0; i < gl_NumSubgroups; ++i) sum += reduced[i];
  return sum;
}

float work_group_max(float x) {
  const float part = subgroupMax(x);
  barrier();
  if (subgroupElect()) reduced[gl_SubgroupID] = part;
  barrier();
  float most = reduced[0];
  for (uint i = 1; i < gl_NumSubgroups; ++i) most = max(most, reduced[i]);
  return most;
}
