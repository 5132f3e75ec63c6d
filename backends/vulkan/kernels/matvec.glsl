// What the matrix-vector kernels share: a work group computes kRows outputs of kColumns rows of x; add_products(),
// which each kernel defines, adds up what one thread has of every output, and the threads' sums are added up here.
layout(constant_id = 2) const uint kRows = 4;
layout(constant_id = 3) const uint kColumns = 1;
layout(constant_id = 4) const uint kMode = 0;
const uint kHeads = 1, kGrouped = 2;
ARGUMENTS(ProductArguments)

const uint kSums = kRows * kColumns;
shared float partial[gl_WorkGroupSize.x * kSums];

// This thread's share of w's rows first .. first + kRows - 1 times x's rows row .. row + kColumns - 1, of which there
// are `rows`: to sum[r * kColumns + c].
void add_products(const ProductArguments a, uint64_t w, uint first, uint row, uint rows, inout float sum[kSums]);

// Elements from x's beginning to its row r.
uint64_t x_offset(const ProductArguments a, uint r) {
  return uint64_t(r / a.inner * a.x_outer + r % a.inner * a.x_inner);
}

void main() {
  const ProductArguments a = arguments();
  const uint me = gl_LocalInvocationIndex, rows = size(a.outer) * a.inner;
  for (uint row = gl_WorkGroupID.y * kColumns; row < rows; row += gl_NumWorkGroups.y * kColumns) {
    uint matrix = 0;
    if (kMode == kHeads) matrix = row % a.inner;
    if (kMode == kGrouped) {
      matrix = uint(Ints(address_of(a.index)).at[row / a.inner * a.index_outer + row % a.inner * a.index_inner]);
    }
    // Outside of all matrices a row is zeros, without the bias; the launch of the first piece sees to it.
    const bool outside = matrix >= a.matrices;
    if (outside ? a.first_matrix != 0 : matrix - a.first_matrix >= a.n_matrices) continue;
    const uint64_t w = a.w + uint64_t(outside ? 0 : matrix - a.first_matrix) * a.matrix_bytes;
    for (uint first = gl_WorkGroupID.x * kRows; first < a.n; first += gl_NumWorkGroups.x * kRows) {
      float sum[kSums];
      [[unroll]] for (uint i = 0; i < kSums; ++i) sum[i] = 0.0;
      if (!outside) add_products(a, w, first, row, rows, sum);
      [[unroll]] for (uint i = 0; i < kSums; ++i) {
        const float part = subgroupAdd(sum[i]);
        if (subgroupElect()) partial[gl_SubgroupID * kSums + i] = part;
      }
      barrier();
      for (uint i = me; i < kSums; i += gl_WorkGroupSize.x) {
        const uint n = first + i / kColumns, r = row + i % kColumns;
        if (n >= a.n || r >= rows) continue;
        float y = 0.0;
        for (uint s = 0; s < gl_NumSubgroups; ++s) y += partial[s * kSums + i];
        if (a.bias != 0 && !outside) y += Floats(a.bias).at[(kMode == kGrouped ? matrix * a.n : 0) + n];
        Floats(a.result + 4 * uint64_t(r) * a.result_row).at[n] = y;
      }
      barrier();
    }
  }
}
