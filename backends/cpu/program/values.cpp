#include "program/values.hpp"

#include <cstring>

#include "program/packing.hpp"

namespace brim_cpu {
namespace {

uint64_t times(uint64_t a, uint64_t b, brim_value value) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product) || product > INT64_MAX) {
    fail(BRIM_INVALID_ARGUMENT, "the size of value %u overflows 63 bits", value);
  }
  return product;
}

bool rows_cover(uint64_t first, uint64_t n, uint64_t from) { return n != 0 && first == from; }

}  // namespace

Values::Values(const brim_program_info& info, bool live, Memory& memory)
    : info_(info), bound_(HostAllocator<Bound>(memory)) {
  bound_.reserve(info.n_bindings);
  for (uint32_t i = 0; i < info.n_bindings; ++i) {
    brim_binding binding{};
    std::memcpy(&binding, BRIM_ELEM(brim_binding, info.bindings, info.binding_stride, i),
                std::min<size_t>(info.binding_stride, sizeof binding));
    if (binding.value >= info.graph->n_values) {
      fail(BRIM_INVALID_ARGUMENT, "binding %u names value %u; the graph has %u values", i, binding.value,
           info.graph->n_values);
    }
    const bool packed = binding.layout_id == kPackedLayout;
    if (binding.layout_id != 0 && !(packed && has_packed_form(desc(binding.value)))) {
      fail(BRIM_INVALID_ARGUMENT, "value %u is bound in layout %llu, which is not one that pack_size gave for it",
           binding.value, static_cast<unsigned long long>(binding.layout_id));
    }
    Bound bound{binding.value,  reinterpret_cast<std::byte*>(binding.offset),
                binding.bytes,  binding.first_row,
                binding.n_rows, false,
                packed};
    if (live) {
      bound.data = range_of(binding.buffer, binding.offset, binding.bytes, "a binding");
      bound.read_only = binding.buffer->read_only;
    }
    bound_.push_back(bound);
  }
  std::sort(bound_.begin(), bound_.end(), [](const Bound& a, const Bound& b) {
    return a.value != b.value ? a.value < b.value : a.first_row < b.first_row;
  });
}

const Values::Bound* Values::first_of(brim_value value, uint32_t* n) const {
  const auto range = std::equal_range(bound_.begin(), bound_.end(), Bound{value, nullptr, 0, 0, 0, false, false},
                                      [](const Bound& a, const Bound& b) { return a.value < b.value; });
  *n = static_cast<uint32_t>(range.second - range.first);
  return *n == 0 ? nullptr : &*range.first;
}

uint64_t Values::elements(const brim_value_desc& v) const {
  uint64_t total = 1;
  for (uint32_t i = 0; i < v.rank; ++i) total = times(total, size(v.dim[i]), 0);
  return total;
}

uint64_t Values::bytes_of(brim_value value) const {
  const brim_value_desc& v = desc(value);
  const uint64_t n = elements(v), block = brim_dtype_block_elements(v.dtype);
  if (block == 0 || n % block != 0) {
    fail(BRIM_INVALID_ARGUMENT, "value %u of dtype %s is no whole number of blocks", value, brim_dtype_name(v.dtype));
  }
  return times(n / block, brim_dtype_block_bytes(v.dtype), value);
}

const Values::Bound& Values::only_one(brim_value value) const {
  uint32_t n = 0;
  const Bound* bound = first_of(value, &n);
  if (n == 0) fail(BRIM_INVALID_ARGUMENT, "value %u has no binding", value);
  if (n > 1) {
    fail(BRIM_UNSUPPORTED,
         "value %u is bound in %u pieces; pieces are taken of the weights of MATMUL, GROUPED_MATMUL and "
         "GATHER_ROWS",
         value, n);
  }
  const uint64_t needed = bytes_of(value);
  if (bound->bytes < needed) {
    fail(BRIM_INVALID_ARGUMENT, "the binding of value %u has %llu bytes; %llu are needed", value,
         static_cast<unsigned long long>(bound->bytes), static_cast<unsigned long long>(needed));
  }
  return *bound;
}

bool Values::in_step(const brim_value_desc& v) const {
  return v.kind == BRIM_VALUE_INPUT && v.role != BRIM_INPUT_EMBEDDING;
}

Tensor Values::tensor(brim_value value) const {
  const brim_value_desc& v = desc(value);
  const bool is_view = v.kind == BRIM_VALUE_VIEW;
  const brim_value storage = is_view ? v.base : value;
  const brim_value_desc& base = desc(storage);
  Tensor t{};
  t.dtype = v.dtype;
  t.rank = v.rank;
  int64_t row_major = 1;
  for (uint32_t i = v.rank; i-- > 0;) {
    t.dim[i] = v.dim[i];
    t.stride[i] = is_view ? static_cast<int64_t>(size(v.stride[i])) : row_major;
    row_major *= static_cast<int64_t>(size(v.dim[i]));
  }
  // The stride of a single element is free; kernels take it for contiguous.
  if (v.rank > 0 && size(v.dim[v.rank - 1]) == 1) t.stride[v.rank - 1] = 1;
  if (in_step(base)) {
    uint64_t offset = 0;
    switch (base.role) {
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
        fail(BRIM_UNSUPPORTED, "value %u is an input of unknown role %u", storage, base.role);
    }
    const uint64_t needed = bytes_of(storage);
    if (offset == 0 || offset > info_.step->bytes || needed > info_.step->bytes - offset) {
      fail(BRIM_INVALID_ARGUMENT, "the step block has no room for value %u (input role %u)", storage, base.role);
    }
    t.in_step = true;
    t.data = reinterpret_cast<const std::byte*>(offset);
  } else {
    const Bound& bound = only_one(storage);
    if (bound.packed) {
      fail(BRIM_INVALID_ARGUMENT, "value %u is bound packed, and used by what pack_size does not pack for", storage);
    }
    t.data = bound.data;
  }
  if (is_view) {
    // The last element of the view must lie in the base.
    const uint64_t whole = elements(base);
    uint64_t last = v.offset;
    bool empty = false;
    for (uint32_t i = 0; i < v.rank; ++i) {
      const uint64_t n = size(v.dim[i]);
      empty = empty || n == 0;
      if (n != 0) last += times(n - 1, static_cast<uint64_t>(t.stride[i]), value);
      if (last > whole) break;
    }
    if (v.offset > whole || (!empty && last >= whole)) {
      fail(BRIM_INVALID_ARGUMENT, "value %u is a view that reaches past its base, value %u", value, storage);
    }
    t.data += dtype_bytes(v.dtype, static_cast<int64_t>(v.offset));
  }
  return t;
}

Piece* Values::pieces(brim_value value, Arena& arena, uint32_t* n) const {
  const brim_value_desc& v = desc(value);
  if (v.rank == 0) fail(BRIM_INVALID_ARGUMENT, "value %u has no rows", value);
  const uint64_t rows = size(v.dim[0]);
  const Bound* bound = first_of(value, n);
  if (packed(value)) return arena.copy(Piece{only_one(value).data, 0, rows});
  if (v.kind == BRIM_VALUE_VIEW || *n <= 1) {
    const Tensor whole = tensor(value);
    if (whole.in_step) fail(BRIM_UNSUPPORTED, "value %u of the step block is no weight", value);
    *n = 1;
    return arena.copy(Piece{whole.data, 0, rows});
  }
  const uint64_t bytes_per_row = rows == 0 ? 0 : bytes_of(value) / rows;
  Piece* all = arena.array<Piece>(*n);
  uint64_t at = 0;
  for (uint32_t i = 0; i < *n; ++i) {
    if (!rows_cover(bound[i].first_row, bound[i].n_rows, at) || bound[i].n_rows > rows - at ||
        bound[i].bytes < times(bound[i].n_rows, bytes_per_row, value)) {
      fail(BRIM_INVALID_ARGUMENT,
           "binding of value %u: rows %llu + %llu in %llu bytes do not go on at row %llu of %llu", value,
           static_cast<unsigned long long>(bound[i].first_row), static_cast<unsigned long long>(bound[i].n_rows),
           static_cast<unsigned long long>(bound[i].bytes), static_cast<unsigned long long>(at),
           static_cast<unsigned long long>(rows));
    }
    all[i] = {bound[i].data, at, bound[i].n_rows};
    at += bound[i].n_rows;
  }
  if (at != rows) {
    fail(BRIM_INVALID_ARGUMENT, "the bindings of value %u hold %llu of its %llu rows", value,
         static_cast<unsigned long long>(at), static_cast<unsigned long long>(rows));
  }
  return all;
}

bool Values::packed(brim_value value) const {
  uint32_t n = 0;
  const Bound* bound = first_of(value, &n);
  return n != 0 && bound->packed;
}

uint64_t Values::row_bytes(brim_value value) const {
  const brim_value_desc& v = desc(value);
  const uint64_t stride = v.kind == BRIM_VALUE_VIEW ? size(v.stride[v.rank - 2]) : size(v.dim[v.rank - 1]);
  return static_cast<uint64_t>(dtype_bytes(v.dtype, static_cast<int64_t>(stride)));
}

void Values::add_reads(Touches& touches, brim_value value) const {
  const brim_value_desc& v = desc(value);
  const brim_value storage = v.kind == BRIM_VALUE_VIEW ? v.base : value;
  const brim_value_desc& base = desc(storage);
  if (base.kind == BRIM_VALUE_WEIGHT || in_step(base)) return;  // no step writes them
  const Bound& bound = only_one(storage);
  const auto begin = reinterpret_cast<uintptr_t>(bound.data);
  touches.add_read({begin, begin + bytes_of(storage)});
}

void Values::add_write(Touches& touches, brim_value value) const {
  const Bound& bound = only_one(value);
  if (bound.read_only) fail(BRIM_INVALID_ARGUMENT, "value %u is written, but bound to a read-only buffer", value);
  const auto begin = reinterpret_cast<uintptr_t>(bound.data);
  touches.add_write({begin, begin + bytes_of(value)});
}

std::byte* Values::workspace(uint64_t* bytes) const {
  uint32_t n = 0;
  const Bound* bound = first_of(0, &n);
  *bytes = n == 0 ? 0 : bound->bytes;
  return n == 0 ? nullptr : bound->data;
}

void collapse(const Values& values, std::initializer_list<Tensor*> tensors, uint32_t keep) {
  const auto erase = [&](uint32_t i) {  // dimension i goes
    for (Tensor* t : tensors) {
      for (uint32_t j = i; j + 1 < t->rank; ++j) {
        t->dim[j] = t->dim[j + 1];
        t->stride[j] = t->stride[j + 1];
      }
      --t->rank;
    }
  };
  const Tensor& model = **tensors.begin();
  for (uint32_t i = 0; i + std::max(keep, 1u) < model.rank;) {
    if (model.dim[i].sym == BRIM_SYM_NONE && model.dim[i].k == 1) {
      erase(i);
    } else {
      ++i;
    }
  }
  for (uint32_t i = 0; i + 1 + keep < model.rank;) {
    const brim_dim outer = model.dim[i], inner = model.dim[i + 1];
    bool merges = inner.sym == BRIM_SYM_NONE && static_cast<uint64_t>(outer.k) * inner.k <= UINT32_MAX;
    for (const Tensor* t : tensors) {
      merges = merges && t->stride[i] == t->stride[i + 1] * static_cast<int64_t>(values.size(inner));
    }
    if (!merges) {
      ++i;
      continue;
    }
    for (Tensor* t : tensors) t->dim[i + 1] = {outer.sym, outer.k * inner.k};
    erase(i);
  }
}

}  // namespace brim_cpu
