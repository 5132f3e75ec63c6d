// One lowering of a list of nodes: what its parts share (sizes, the workspace, arguments, launches), and which parts
// there are. lower.cpp has them, but for products, which are in products.cpp.
#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "check.hpp"
#include "lower.hpp"
#include "values.hpp"

namespace brim_gpu {

class Lowering {
 public:
  Lowering(const Target& target, const brim_program_info& info, bool live, uint64_t blob_address, Lowered& out)
      : target_(target),
        info_(info),
        live_(live),
        blob_address_(blob_address),
        out_(out),
        values_(info, live, target.memory),
        lives_(target.memory),
        angles_(target.memory),
        quantised_(target.memory) {
    workspace_ = values_.workspace(&workspace_bound_);
  }

  void run();

 private:
  struct Life {
    uint64_t begin, end, last;  // bytes of the workspace; the last node that needs them
  };
  struct Angles {
    brim_rope_attr attr;
    uint64_t features;
    brim_value position, factors;
    Range table;
  };
  enum class Rows { kFloats, kBytes, kHalves };  // as which a product takes x
  struct Quantised {
    brim_value x;
    Rows as;
    Range range;  // its codes, then its scales (kernels/quantise)
  };

  // ---- small helpers ----

  Tensor in(const brim_node& node, uint32_t i) const { return values_.tensor(node.in[i]); }
  uint64_t address_or_0(const brim_node& node, uint32_t i) const {
    return has_input(node, i) ? in(node, i).address : 0;
  }
  const brim_value_desc& desc(brim_value v) const { return values_.desc(v); }
  uint64_t result(const brim_node& node, uint32_t i = 0) const { return values_.tensor(node.out[i]).address; }
  uint64_t size(brim_dim dim) const { return values_.size(dim); }
  uint32_t threads_of(Kernel kernel) const { return target_.threads[static_cast<uint32_t>(kernel)]; }
  uint32_t constant(brim_dim dim) const { return dim.k; }
  bool is_state(brim_value v) const { return desc(v).kind == BRIM_VALUE_STATE; }

  // Rows of everything but the innermost dimension; only one of them changes from step to step.
  Size rows_of(const brim_value_desc& v) const {
    Size rows{BRIM_SYM_NONE, 1};
    for (uint32_t i = 0; i + 1 < v.rank; ++i) rows = product(rows, v.dim[i]);
    return known(rows);
  }
  static Size product(Size a, brim_dim b) {
    if (a.symbol != BRIM_SYM_NONE && b.sym != BRIM_SYM_NONE) {
      fail(BRIM_UNSUPPORTED, "a value has two dimensions that change from step to step");
    }
    const uint64_t factor = uint64_t{a.factor} * b.k;
    if (factor > UINT32_MAX) fail(BRIM_UNSUPPORTED, "a value has more rows than 32 bits count");
    return {a.symbol != BRIM_SYM_NONE ? a.symbol : b.sym, static_cast<uint32_t>(factor)};
  }
  // A step has a token at least: where it can have no more, kernels need not look how many there are.
  Size known(Size s) const {
    if (s.symbol == BRIM_SYM_N_TOKENS && info_.bucket->n_tokens == 1) s.symbol = BRIM_SYM_NONE;
    return s;
  }
  Size size_of(brim_dim dim) const { return known({dim.sym, dim.k}); }
  uint64_t bound_of(Size s) const { return size({s.symbol, s.factor}); }
  uint64_t elements_of(const brim_value_desc& v) const {
    const uint64_t n = v.rank == 0 ? 1 : bound_of(rows_of(v)) * size(v.dim[v.rank - 1]);
    if (n > UINT32_MAX)
      fail(BRIM_UNSUPPORTED, "a value has %llu elements, more than kernels count", static_cast<unsigned long long>(n));
    return n;
  }

  // Bytes of the workspace until node `last` has run: first fit among what is still needed.
  Range take(uint64_t bytes, uint64_t last) {
    std::erase_if(lives_, [&](const Life& life) { return life.last < now_; });
    if (bytes > UINT64_MAX / 4) fail(BRIM_INVALID_ARGUMENT, "a program's workspace overflows 64 bits");
    const uint64_t wanted = (bytes + 63) / 64 * 64;
    uint64_t at = 0;
    auto next = lives_.begin();
    for (; next != lives_.end() && next->begin - at < wanted; ++next) at = next->end;
    lives_.insert(next, {at, at + wanted, last});
    out_.workspace = std::max(out_.workspace, at + wanted);
    return {workspace_ + at, workspace_ + at + bytes};
  }

  // The last node from now on for which `uses` holds.
  template <class F>
  uint64_t last_use(F&& uses) const {
    uint64_t last = now_;
    for (uint64_t i = now_ + 1; i < info_.n_nodes; ++i) {
      if (info_.nodes[i] < info_.graph->n_nodes && uses(*brim_graph_node(info_.graph, info_.nodes[i]))) last = i;
    }
    return last;
  }

  // What a node's values touch: all tensors in, all tensors out.
  Touches touches_of(const brim_node& node) const {
    Touches touches{};
    for (uint32_t i = 0; i < node.n_in; ++i) {
      if (node.in[i] != 0 && !is_state(node.in[i])) touches.add_read(values_.read_range(node.in[i]));
    }
    for (uint32_t i = 0; i < node.n_out; ++i) {
      if (node.out[i] != 0 && !is_state(node.out[i])) touches.add_write(values_.write_range(node.out[i]));
    }
    return touches;
  }

  uint64_t add_to_blob(const void* bytes, uint64_t n) {
    const uint64_t at = (out_.blob.size() + 15) / 16 * 16;
    out_.blob.resize(at + n);
    std::memcpy(out_.blob.data() + at, bytes, n);
    return at;
  }

  struct Grid {
    uint64_t x, y, z;
  };
  // Kernels go through what does not fit into the grid in strides of it, in x and y.
  template <class Arguments>
  void emit(Kernel kernel, const Arguments& arguments, const Touches& touches, Grid grid,
            std::initializer_list<uint32_t> constants = {}) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;  // nothing to compute
    Launch launch{};
    launch.kernel = kernel;
    std::copy(constants.begin(), constants.end(), launch.constants);
    const uint64_t most = target_.max_groups;
    if (grid.z > most)
      fail(BRIM_UNSUPPORTED, "more than %llu groups in one launch", static_cast<unsigned long long>(most));
    launch.groups[0] = static_cast<uint32_t>(std::min(grid.x, most));
    launch.groups[1] = static_cast<uint32_t>(std::min(grid.y, most));
    launch.groups[2] = static_cast<uint32_t>(grid.z);
    launch.arguments = add_to_blob(&arguments, sizeof arguments);
    out_.launches.push_back(launch);
    out_.touches.push_back(touches);
  }
  // A grid that the kernel does not go through in strides.
  template <class Arguments>
  void emit_whole(Kernel kernel, const Arguments& arguments, const Touches& touches, Grid grid,
                  std::initializer_list<uint32_t> constants = {}) {
    if (std::max({grid.x, grid.y, grid.z}) > target_.max_groups) {
      fail(BRIM_UNSUPPORTED, "a step of this bucket needs more than %u work groups in a dimension", target_.max_groups);
    }
    emit(kernel, arguments, touches, grid, constants);
  }
  // One thread an item.
  template <class Arguments>
  void emit_items(Kernel kernel, const Arguments& arguments, const Touches& touches, uint64_t items,
                  std::initializer_list<uint32_t> constants = {}) {
    if (items > UINT32_MAX / 2)
      fail(BRIM_UNSUPPORTED, "a kernel would have %llu items", static_cast<unsigned long long>(items));
    const uint64_t threads = threads_of(kernel);
    emit(kernel, arguments, touches, {(items + threads - 1) / threads, 1, 1}, constants);
  }

  // Dimensions and strides padded to four, outermost first.
  void four(const Tensor& t, Size (&dim)[4]) const {
    for (uint32_t i = 0; i < 4; ++i) {
      dim[i] = i < 4 - t.rank ? Size{BRIM_SYM_NONE, 1} : size_of(t.dim[i - (4 - t.rank)]);
    }
  }
  // Strides of a tensor that broadcasts to `like`'s dimensions, aligned at the innermost.
  void four_strides(const Tensor& t, const Tensor& like, uint32_t (&stride)[4]) const {
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t missing = 4 - t.rank;
      stride[i] = 0;
      if (i < missing) continue;
      const brim_dim own = t.dim[i - missing];
      const bool one = own.sym == BRIM_SYM_NONE && own.k == 1;
      const uint32_t like_missing = 4 - like.rank;
      const brim_dim whole = i < like_missing ? brim_dim{BRIM_SYM_NONE, 1} : like.dim[i - like_missing];
      const bool stretched = one && !(whole.sym == BRIM_SYM_NONE && whole.k == 1);
      stride[i] = stretched ? 0 : t.stride[i - missing];
    }
  }

  // ---- elementwise and movement ----

  void lower_elementwise(const brim_node& node);
  void emit_copy(const Tensor& x, Tensor to, const Touches& touches, uint64_t elements);
  void lower_concat(const brim_node& node);
  void lower_gather(const brim_node& node);
  void lower_scatter(const brim_node& node);

  // ---- rows ----

  void lower_norm(const brim_node& node);
  void lower_select(const brim_node& node);

  // ---- products (products.cpp) ----

  void lower_product(const brim_node& node);
  Rows rows_taken(const brim_node& node) const;
  // Of so many values: codes of a byte and 8 bytes of scale and sum for 32, or F16.
  static uint64_t bytes_of(Rows as, uint64_t values) {
    return as == Rows::kBytes ? values + values / 32 * 8 : 2 * values;
  }
  Range quantise(brim_value x, Rows as, ProductArguments& product);
  template <class Arguments>
  void quantise_with(brim_value made, Arguments& arguments, Touches& touches);
  const brim_node* addition_behind(const brim_node& product) const;
  void lower_batched(const brim_node& node);

  // ---- rope ----

  Range angles(const brim_node& node, const brim_rope_attr& attr);
  void lower_rope(const brim_node& node);

  // ---- states ----

  brim_program_state storage_of(brim_value value, brim_state_desc* state) const;
  uint32_t step_array(uint64_t offset, uint64_t count, const char* name) const;
  uint64_t bytes_of(const brim_program_state& state, const StateLayout& layout, Range* all) const;
  KvStore kv_of(brim_value value, uint32_t* dtype, Range* all) const;
  void lower_kv_write(const brim_node& node);
  void lower_attention(const brim_node& node);
  void emit_attention(const AttentionArguments& arguments, const Touches& touches, Grid grid,
                      std::initializer_list<uint32_t> constants);
  SlotStore slots_of(brim_value value, uint64_t elements, Range* all) const;
  void lower_conv(const brim_node& node);
  void lower_linear_attention(const brim_node& node);

  // ---- mixtures ----

  void lower_route(const brim_node& node);
  void lower_combine(const brim_node& node);

  void lower_node(const brim_node& node);

  const Target& target_;
  const brim_program_info& info_;
  const bool live_;
  const uint64_t blob_address_;
  Lowered& out_;
  Values values_;
  Array<Life> lives_;  // of the workspace, by begin, disjoint
  Array<Angles> angles_;
  Array<Quantised> quantised_;
  uint64_t workspace_ = 0, workspace_bound_ = 0;
  uint64_t now_ = 0;             // index in info.nodes
  uint64_t fused_ = UINT64_MAX;  // index of a node that the one before it has done
};

}  // namespace brim_gpu
