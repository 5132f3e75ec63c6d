#include "values.hpp"

namespace brim_gpu {
namespace {

uint64_t times(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) fail(BRIM_INVALID_ARGUMENT, "the size of a value overflows 64 bits");
  return product;
}

}  // namespace

Values::Values(const brim_program_info& info, bool live, Memory memory) : info_(info), bound_(memory) {
  bound_.reserve(info.n_bindings);
  for (uint32_t i = 0; i < info.n_bindings; ++i) {
    const auto binding = element<brim_binding>(info.bindings, info.binding_stride, i);
    if (binding.value >= info.graph->n_values) {
      fail(BRIM_INVALID_ARGUMENT, "binding %u names value %u; the graph has %u values", i, binding.value,
           info.graph->n_values);
    }
    if (binding.layout_id != 0) {
      fail(BRIM_INVALID_ARGUMENT, "value %u is bound in layout %llu; this backend packs nothing and takes layout 0",
           binding.value, static_cast<unsigned long long>(binding.layout_id));
    }
    Bound b{binding.value, binding.offset, binding.bytes, binding.first_row, binding.n_rows, false};
    if (live) {
      check_range(binding.buffer, binding.offset, binding.bytes, "a binding");
      if (binding.offset % kAlignment != 0) {
        fail(BRIM_INVALID_ARGUMENT, "value %u is bound at offset %llu; this backend's alignment is %llu", binding.value,
             static_cast<unsigned long long>(binding.offset), static_cast<unsigned long long>(kAlignment));
      }
      const BufferFacts facts = facts_of(binding.buffer);
      b.address += facts.address;
      b.read_only = facts.read_only;
    }
    bound_.push_back(b);
  }
  std::sort(bound_.begin(), bound_.end(), [](const Bound& a, const Bound& b) {
    return a.value != b.value ? a.value < b.value : a.first_row < b.first_row;
  });
}

std::pair<const Values::Bound*, const Values::Bound*> Values::all_of(brim_value value) const {
  const auto [first, last] = std::equal_range(bound_.begin(), bound_.end(), Bound{value, 0, 0, 0, 0, false},
                                              [](const Bound& a, const Bound& b) { return a.value < b.value; });
  return {bound_.data() + (first - bound_.begin()), bound_.data() + (last - bound_.begin())};
}

Array<Values::Piece> Values::pieces(brim_value value, Memory memory) const {
  Array<Piece> all(memory);
  const brim_value_desc& v = desc(value);
  const uint64_t rows = size(v.dim[0]);
  const auto [first, last] = all_of(value);
  if (v.kind == BRIM_VALUE_VIEW || last - first <= 1) {
    all.push_back({tensor(value).address, 0, rows});
    return all;
  }
  const uint64_t bytes_per_row = rows == 0 ? 0 : bytes_of(value) / rows;
  uint64_t at = 0;
  for (const Bound* b = first; b != last; ++b) {
    if (b->first_row != at || b->n_rows == 0 || b->n_rows > rows - at || b->bytes < times(b->n_rows, bytes_per_row)) {
      fail(BRIM_INVALID_ARGUMENT,
           "binding of value %u: rows %llu + %llu in %llu bytes do not go on at row %llu of %llu", value,
           static_cast<unsigned long long>(b->first_row), static_cast<unsigned long long>(b->n_rows),
           static_cast<unsigned long long>(b->bytes), static_cast<unsigned long long>(at),
           static_cast<unsigned long long>(rows));
    }
    all.push_back({b->address, at, b->n_rows});
    at += b->n_rows;
  }
  if (at != rows) {
    fail(BRIM_INVALID_ARGUMENT, "the bindings of value %u hold %llu of its %llu rows", value,
         static_cast<unsigned long long>(at), static_cast<unsigned long long>(rows));
  }
  return all;
}

const Values::Bound& Values::bound(brim_value value) const {
  const auto [first, last] = all_of(value);
  if (first == last) fail(BRIM_INVALID_ARGUMENT, "value %u has no binding", value);
  if (last - first > 1) {
    fail(BRIM_UNSUPPORTED,
         "value %u is bound in %u pieces; pieces are taken of the weights of MATMUL, GROUPED_MATMUL and GATHER_ROWS",
         value, static_cast<uint32_t>(last - first));
  }
  const uint64_t needed = bytes_of(value);
  if (first->bytes < needed) {
    fail(BRIM_INVALID_ARGUMENT, "the binding of value %u has %llu bytes; %llu are needed", value,
         static_cast<unsigned long long>(first->bytes), static_cast<unsigned long long>(needed));
  }
  return *first;
}

uint64_t Values::elements(const brim_value_desc& v) const {
  uint64_t total = 1;
  for (uint32_t i = 0; i < v.rank; ++i) total = times(total, size(v.dim[i]));
  return total;
}

uint64_t Values::bytes_of(brim_value value) const {
  const brim_value_desc& v = desc(value);
  const uint64_t n = elements(v), block = brim_dtype_block_elements(v.dtype);
  if (block == 0 || n % block != 0) {
    fail(BRIM_INVALID_ARGUMENT, "value %u of dtype %s is no whole number of blocks", value, brim_dtype_name(v.dtype));
  }
  return times(n / block, brim_dtype_block_bytes(v.dtype));
}

uint64_t Values::step_offset(brim_value value) const {
  uint64_t offset = 0;
  switch (desc(value).role) {
    case BRIM_INPUT_TOKEN:
      offset = info_.step->token;
      break;
    case BRIM_INPUT_POSITION:
      offset = info_.step->position;
      break;
    case BRIM_INPUT_OUTPUT_ROW:
      offset = info_.step->output_row;
      break;
    case BRIM_INPUT_ADAPTER:
      offset = info_.step->adapter;
      break;
    default:
      fail(BRIM_UNSUPPORTED, "value %u is an input of unknown role %u", value, desc(value).role);
  }
  const uint64_t needed = bytes_of(value);
  if (offset == 0 || offset > info_.step->bytes || needed > info_.step->bytes - offset) {
    fail(BRIM_INVALID_ARGUMENT, "the step block has no room for value %u (input role %u)", value, desc(value).role);
  }
  return offset;
}

Tensor Values::tensor(brim_value value) const {
  const brim_value_desc& v = desc(value);
  const bool is_view = v.kind == BRIM_VALUE_VIEW;
  const brim_value storage = is_view ? v.base : value;
  const brim_value_desc& base = desc(storage);
  Tensor t{};
  t.dtype = v.dtype;
  t.rank = v.rank;
  uint64_t row_major = 1, last = is_view ? v.offset : 0;
  bool empty = false;
  for (uint32_t i = v.rank; i-- > 0;) {
    const uint64_t n = size(v.dim[i]);
    uint64_t stride = is_view ? size(v.stride[i]) : row_major;
    if (i + 1 == v.rank && n == 1) stride = 1;  // the stride of a single element is free
    if (stride > UINT32_MAX) fail(BRIM_UNSUPPORTED, "value %u has strides beyond 32 bits", value);
    t.dim[i] = v.dim[i];
    t.stride[i] = static_cast<uint32_t>(stride);
    empty = empty || n == 0;
    if (n != 0) last += times(n - 1, stride);
    row_major = times(row_major, n);
  }
  if (is_view && !empty && last >= elements(base)) {
    fail(BRIM_INVALID_ARGUMENT, "value %u is a view that reaches past its base, value %u", value, storage);
  }
  t.address = in_step(base) ? kInStep | step_offset(storage) : bound(storage).address;
  if (is_view) t.address += dtype_bytes(v.dtype, v.offset);
  return t;
}

uint64_t Values::row_bytes(brim_value value) const {
  const brim_value_desc& v = desc(value);
  return dtype_bytes(v.dtype, v.kind == BRIM_VALUE_VIEW ? size(v.stride[v.rank - 2]) : size(v.dim[v.rank - 1]));
}

Range Values::read_range(brim_value value) const {
  const brim_value_desc& v = desc(value);
  const brim_value storage = v.kind == BRIM_VALUE_VIEW ? v.base : value;
  if (desc(storage).kind == BRIM_VALUE_WEIGHT || in_step(desc(storage))) return {};
  const Bound& b = bound(storage);
  return {b.address, b.address + bytes_of(storage)};
}

Range Values::write_range(brim_value value) const {
  const Bound& b = bound(value);
  if (b.read_only) fail(BRIM_INVALID_ARGUMENT, "value %u is written, but bound to a read-only buffer", value);
  return {b.address, b.address + bytes_of(value)};
}

uint64_t Values::workspace(uint64_t* bytes) const {
  const auto found = std::find_if(bound_.begin(), bound_.end(), [](const Bound& b) { return b.value == 0; });
  *bytes = found == bound_.end() ? 0 : found->bytes;
  return found == bound_.end() ? 0 : found->address;
}

}  // namespace brim_gpu
