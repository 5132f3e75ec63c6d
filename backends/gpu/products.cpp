// Products of a weight and rows of activations.
//
// Few rows are products of a matrix and vectors, many go by tiles. In fast numerics, where the target has products of
// bytes or of F16 for them, rows are taken as such: a value is quantised once for all products of it, by the node that
// makes it where it can.
#include "lowering.hpp"

namespace brim_gpu {
namespace {

// Rows up to which a product is one of a matrix and few vectors.
constexpr uint64_t kFewRows = 8;

// Formats of MATVEC_DOT.
bool has_dot(const Target& target, uint32_t dtype) {
  if (!target.integer_dot) return false;
  if (target.dot_all_formats) return dtype >= BRIM_DTYPE_Q4_0;
  return dtype == BRIM_DTYPE_Q4_0 || dtype == BRIM_DTYPE_Q8_0 || dtype == BRIM_DTYPE_Q4_K || dtype == BRIM_DTYPE_Q5_K ||
         dtype == BRIM_DTYPE_Q6_K;
}

}  // namespace

// As what x goes into the product; that of F16 and BF16 weights as it is, whatever becomes of it there.
Lowering::Rows Lowering::rows_taken(const brim_node& node) const {
  const bool grouped = node.op == BRIM_OP_GROUPED_MATMUL;
  if (!grouped && (node.op != BRIM_OP_MATMUL || (node.must & BRIM_MATMUL_BATCHED) != 0)) return Rows::kFloats;
  const brim_value_desc &w = desc(node.in[0]), &of = desc(node.in[grouped ? 2 : 1]);
  if (info_.numerics != BRIM_NUMERICS_FAST || !has_dot(target_, w.dtype)) return Rows::kFloats;
  const uint64_t rows = bound_of(rows_of(of)) * (grouped ? size(of.dim[of.rank - 1]) : 1);
  const bool plain = !grouped && (node.must & BRIM_MATMUL_HEADS) == 0;
  if (rows * constant(w.dim[w.rank - 1]) > UINT32_MAX / 2) return Rows::kFloats;
  if (!plain || rows <= kFewRows) return Rows::kBytes;
  // Scales of MXFP4 go beyond F16.
  if (target_.unpacks && w.dtype != BRIM_DTYPE_MXFP4) return Rows::kHalves;
  return target_.matrix_units ? Rows::kBytes : Rows::kFloats;
}

void Lowering::lower_product(const brim_node& node) {
  const bool heads = node.op == BRIM_OP_MATMUL && (node.must & BRIM_MATMUL_HEADS) != 0;
  const bool grouped = node.op == BRIM_OP_GROUPED_MATMUL;
  const brim_value_desc& w = desc(node.in[0]);
  const Tensor x = in(node, 1);
  ProductArguments arguments{};
  arguments.x = x.address;
  arguments.row_bytes = values_.row_bytes(node.in[0]);
  arguments.n = constant(w.dim[w.rank - 2]);
  arguments.k = constant(w.dim[w.rank - 1]);
  arguments.matrices = w.rank == 3 ? constant(w.dim[0]) : 1;
  arguments.matrix_bytes = arguments.row_bytes * arguments.n;
  if (w.kind == BRIM_VALUE_VIEW && w.rank == 3) {
    arguments.matrix_bytes = dtype_bytes(w.dtype, size(w.stride[0]));
  }
  arguments.result_row = arguments.n;
  arguments.inner = 1;
  uint64_t bias = 0;
  if (grouped) {
    const Tensor index = in(node, 2);
    arguments.index = index.address;
    arguments.index_outer = index.stride[0];
    arguments.index_inner = index.stride[1];
    arguments.outer = size_of(index.dim[0]);
    arguments.inner = constant(index.dim[1]);
    arguments.x_outer = x.stride[0];
    arguments.x_inner = x.rank == 3 ? x.stride[1] : 0;
    bias = address_or_0(node, 3);
  } else {
    bias = address_or_0(node, 2);
    if (heads || (x.rank == 3 && desc(node.in[1]).kind == BRIM_VALUE_VIEW)) {
      arguments.outer = size_of(x.dim[0]);
      arguments.inner = constant(x.dim[1]);
      arguments.x_outer = x.stride[0];
      arguments.x_inner = x.stride[1];
    } else {  // one kind of row: all outer dimensions of a contiguous value, or one with any stride
      arguments.outer = rows_of(desc(node.in[1]));
      arguments.x_outer = x.rank == 2 ? x.stride[0] : arguments.k;
    }
  }
  const uint32_t mode = heads ? 1 : grouped ? 2 : 0;
  const uint64_t rows = bound_of(arguments.outer) * arguments.inner;
  const Rows taken = rows_taken(node);
  const bool dot = taken == Rows::kBytes, unpacked = taken == Rows::kHalves;
  const bool half = info_.numerics == BRIM_NUMERICS_FAST && target_.matrix_units &&
                    (w.dtype == BRIM_DTYPE_F16 || w.dtype == BRIM_DTYPE_BF16) && arguments.k % 8 == 0 &&
                    w.kind != BRIM_VALUE_VIEW;  // rows then begin at multiples of 16 bytes
  Touches touches{};
  if (taken != Rows::kFloats) touches.add_read(quantise(node.in[1], taken, arguments));
  for (uint32_t i = 0; i < node.n_in; ++i) {
    if (node.in[i] != 0 && !(taken != Rows::kFloats && i == 1)) touches.add_read(values_.read_range(node.in[i]));
  }
  brim_value out = node.out[0];
  if (const brim_node* addition = mode == 0 ? addition_behind(node) : nullptr; addition != nullptr) {
    const brim_value other = addition->in[addition->in[0] == out ? 1 : 0];
    arguments.add = values_.tensor(other).address;
    arguments.add_row = values_.tensor(other).stride[0];
    touches.add_read(values_.read_range(other));
    out = addition->out[0];
    fused_ = now_ + 1;
  }
  touches.add_write(values_.write_range(out));
  const uint64_t result_address = values_.tensor(out).address, add_address = arguments.add;
  for (const Values::Piece& piece : values_.pieces(node.in[0], target_.memory)) {
    arguments.w = piece.address;
    arguments.result = result_address;
    arguments.add = add_address;
    arguments.bias = bias;
    if (w.rank == 3) {
      arguments.first_matrix = static_cast<uint32_t>(piece.first_row);
      arguments.n_matrices = static_cast<uint32_t>(piece.n_rows);
    } else {
      arguments.n_matrices = 1;
      arguments.n = static_cast<uint32_t>(piece.n_rows);
      arguments.result += piece.first_row * sizeof(float);
      if (add_address != 0) arguments.add += piece.first_row * sizeof(float);
      if (bias != 0) arguments.bias += piece.first_row * sizeof(float);
    }
    if (mode != 0 || rows <= kFewRows) {
      const uint32_t columns = mode != 0 || rows == 1 ? 1 : 4, outputs = dot ? target_.dot_outputs : 4;
      emit(dot ? Kernel::kMatvecDot : Kernel::kMatvec, arguments, touches,
           {(arguments.n + outputs - 1ull) / outputs, (rows + columns - 1) / columns, 1},
           {w.dtype, outputs, columns, mode});
    } else if (unpacked) {
      // The wider tile unpacks weights for more rows, if blocks enough are left for the processors.
      const uint64_t across = rows > 64 && (arguments.n + 127ull) / 128 * ((rows + 127) / 128) >= 128 ? 128 : 64;
      emit(Kernel::kMatmulUnpacked, arguments, touches, {(arguments.n + 127ull) / 128, (rows + across - 1) / across, 1},
           {w.dtype, static_cast<uint32_t>(across)});
    } else if (dot || half) {
      const uint32_t across = rows <= 32 ? 32 : 64;
      emit(dot ? Kernel::kMatmulDot : Kernel::kMatmulHalf, arguments, touches,
           {(arguments.n + 127ull) / 128, (rows + across - 1) / across, 1}, {w.dtype, across});
    } else {
      const uint32_t tile = rows <= 16 ? 1 : rows <= 32 ? 2 : 4;
      emit(Kernel::kMatmul, arguments, touches, {(arguments.n + 63ull) / 64, (rows + 16 * tile - 1) / (16 * tile), 1},
           {w.dtype, tile});
    }
  }
}

// The rows of a product's x as it takes them, which its arguments then name instead of x.
Range Lowering::quantise(brim_value x, Rows as, ProductArguments& product) {
  const uint32_t inner = product.x_inner == 0 ? 1 : product.inner;  // else all inner rows are one
  const uint64_t rows = bound_of(product.outer) * inner, codes = rows * product.k;
  const auto made =
      std::find_if(quantised_.begin(), quantised_.end(), [&](const Quantised& q) { return q.x == x && q.as == as; });
  Range range{};
  if (made != quantised_.end()) {
    range = made->range;
  } else {
    range = take(bytes_of(as, codes), last_use([&](const brim_node& later) {
                   return later.n_in >= 2 && later.in[1] == x && rows_taken(later) == as;
                 }));
    QuantiseArguments arguments{};
    arguments.x = product.x;
    arguments.codes = range.begin;
    arguments.scales = range.begin + codes;
    arguments.outer = product.outer;
    arguments.inner = inner;
    arguments.k = product.k;
    arguments.x_outer = product.x_outer;
    arguments.x_inner = product.x_inner;
    Touches touches{};
    touches.add_read(values_.read_range(x));
    touches.add_write(range);
    if (as == Rows::kBytes) {
      emit_items(Kernel::kQuantise, arguments, touches, codes / 4);
    } else {
      emit_items(Kernel::kHalve, arguments, touches, codes / 8);
    }
    quantised_.push_back({x, as, range});
  }
  product.x = range.begin;
  product.x_scales = static_cast<uint32_t>(codes);
  product.x_outer = inner * product.k;
  product.x_inner = product.x_inner == 0 ? 0 : product.k;
  return range;
}

// The value that a node makes in the form that products behind it take, by the node's own kernel; its own form is left
// out where nothing else reads it.
template <class Arguments>
void Lowering::quantise_with(brim_value made, Arguments& arguments, Touches& touches) {
  const brim_value_desc& v = desc(made);
  if (!target_.fuses || v.kind != BRIM_VALUE_TEMP || v.rank != 2 || constant(v.dim[1]) % 32 != 0) return;
  uint64_t takers = 0;
  const uint64_t last = last_use([&](const brim_node& later) {
    const bool takes = later.n_in >= 2 && later.in[1] == made && rows_taken(later) == Rows::kBytes;
    takers += takes ? 1 : 0;
    return takes;
  });
  if (takers == 0) return;
  const uint64_t codes = bound_of(rows_of(v)) * constant(v.dim[1]);
  const Range range = take(bytes_of(Rows::kBytes, codes), last);
  quantised_.push_back({made, Rows::kBytes, range});
  touches.add_write(range);
  arguments.codes = range.begin;
  arguments.scales = range.begin + codes;
  if (takers == v.n_uses) arguments.result = 0;
}
template void Lowering::quantise_with(brim_value, ElementwiseArguments&, Touches&);
template void Lowering::quantise_with(brim_value, NormArguments&, Touches&);

// The next node, where it adds a value of the same shape to the product, which nothing else reads, and may write its
// result when the product would.
const brim_node* Lowering::addition_behind(const brim_node& product) const {
  if (!target_.fuses || now_ + 1 >= info_.n_nodes || info_.nodes[now_ + 1] >= info_.graph->n_nodes) return nullptr;
  const brim_node& next = *brim_graph_node(info_.graph, info_.nodes[now_ + 1]);
  const brim_value y = product.out[0];
  if (next.op != BRIM_OP_BINARY || judge(*info_.graph, next).why != nullptr ||
      received<brim_binary_attr>(next.attr).kind != BRIM_BINARY_ADD || (next.in[0] == y) == (next.in[1] == y)) {
    return nullptr;
  }
  const brim_value other = next.in[next.in[0] == y ? 1 : 0], sum = next.out[0];
  const brim_value_desc& of_y = desc(y);
  const auto alike = [&](const brim_value_desc& v) {
    return v.rank == 2 && v.dim[0].sym == of_y.dim[0].sym && v.dim[0].k == of_y.dim[0].k && v.dim[1].k == of_y.dim[1].k;
  };
  if (of_y.kind != BRIM_VALUE_TEMP || of_y.n_uses != 1 || of_y.rank != 2 || desc(product.in[1]).rank != 2 ||
      desc(other).kind != BRIM_VALUE_TEMP || !alike(desc(other)) || !alike(desc(sum))) {
    return nullptr;
  }
  const Range to = values_.write_range(sum), from = values_.read_range(other);
  if (overlap(to, from) && to.begin != from.begin) return nullptr;
  if (rows_taken(product) == Rows::kFloats && overlap(to, values_.read_range(product.in[1]))) return nullptr;
  return &next;
}

void Lowering::lower_batched(const brim_node& node) {
  const Tensor w = in(node, 0), x = in(node, 1), y = values_.tensor(node.out[0]);
  BatchedArguments arguments{};
  arguments.w = w.address;
  arguments.x = x.address;
  arguments.result = y.address;
  four(y, arguments.dim);
  arguments.k = constant(x.dim[x.rank - 1]);
  uint32_t stride[4];
  four_strides(x, x, stride);
  std::copy_n(stride, 3, arguments.x_stride);
  // The weight's rows stand where y has its columns.
  Tensor batch = w;
  batch.dim[w.rank - 2] = y.dim[y.rank - 2];
  four_strides(batch, y, stride);
  std::copy_n(stride, 2, arguments.w_stride);
  arguments.w_stride[2] = w.stride[w.rank - 2];
  emit_items(Kernel::kBatched, arguments, touches_of(node), elements_of(desc(node.out[0])));
}

}  // namespace brim_gpu
