#include <base/error.hpp>
#include <graph/builder.hpp>
#include <graph/meta_access.hpp>
#include <graph/shape_rules.hpp>
#include <graph/sticky.hpp>
#include <unordered_map>

namespace brim::graph {

class Builder {
 public:
  Builder(const model::ModelFile& file, const Description& description, const brim_build_info& info)
      : file_(file), description_(description), info_(info) {}

  std::unique_ptr<const Graph> build(ArchitectureRef architecture);

 private:
  static Builder& of(brim_builder* builder) { return *reinterpret_cast<Builder*>(builder); }

  brim_value add(brim_value_desc desc) {
    desc.producer = BRIM_NO_NODE;
    graph_->values_.push_back(desc);
    return static_cast<brim_value>(graph_->values_.size() - 1);
  }
  // One value for each (kind, role), made when first asked for.
  template <class Make>
  brim_value once(uint32_t kind, uint32_t role, const Make& make) {
    auto [at, fresh] = sources_.try_emplace(uint64_t{kind} << 32 | role, 0);
    if (fresh) at->second = add(make());
    return at->second;
  }
  brim_value input(uint32_t role);
  brim_value weight(uint32_t id);
  brim_value state(uint32_t id);
  void emit(uint32_t op, uint32_t op_rev, uint64_t must, uint64_t hints, const void* attr, const brim_value* in,
            uint32_t n_in, brim_value* out, uint32_t n_out);
  void output(uint32_t role, brim_value value);
  const brim_value_desc* operand(brim_value v) const;
  void check_window(const NodeDraft& draft) const;

  const model::ModelFile& file_;
  const Description& description_;
  const brim_build_info& info_;
  std::unique_ptr<Graph> graph_ = std::make_unique<Graph>();
  std::unordered_map<uint64_t, brim_value> sources_;
  uint32_t layer_ = BRIM_NO_LAYER;
  Sticky sticky_;
};

namespace {

brim_value_desc shaped(uint32_t kind, uint32_t role, uint32_t dtype, std::initializer_list<brim_dim> dims) {
  brim_value_desc desc{};
  desc.kind = kind;
  desc.role = role;
  desc.dtype = dtype;
  for (const brim_dim d : dims) desc.dim[desc.rank++] = d;
  set_contiguous(desc);
  return desc;
}

}  // namespace

brim_value Builder::input(uint32_t role) {
  return once(BRIM_VALUE_INPUT, role, [&] {
    const brim_dim rows = {BRIM_SYM_N_TOKENS, 1};
    switch (role) {
      case BRIM_INPUT_TOKEN:
      case BRIM_INPUT_ADAPTER:
        return shaped(BRIM_VALUE_INPUT, role, BRIM_DTYPE_I32, {rows});
      case BRIM_INPUT_POSITION:
        return shaped(BRIM_VALUE_INPUT, role, BRIM_DTYPE_I32, {rows, {BRIM_SYM_NONE, description_.model.n_position}});
      case BRIM_INPUT_OUTPUT_ROW:
        return shaped(BRIM_VALUE_INPUT, role, BRIM_DTYPE_I32, {{BRIM_SYM_N_OUTPUTS, 1}});
      case BRIM_INPUT_EMBEDDING:
        return shaped(BRIM_VALUE_INPUT, role, BRIM_DTYPE_F32, {rows, {BRIM_SYM_NONE, description_.model.width}});
      default:
        fail(BRIM_UNSUPPORTED, "input role {} is not known to this runtime", role);
    }
  });
}

brim_value Builder::weight(uint32_t id) {
  if (id >= description_.weights.size()) fail(BRIM_INVALID_ARGUMENT, "tensor {} was not declared by describe", id);
  const model::Tensor* tensor = description_.weights[id].tensor;
  if (!tensor) return 0;
  return once(BRIM_VALUE_WEIGHT, id, [&] {
    brim_value_desc desc{};
    desc.kind = BRIM_VALUE_WEIGHT;
    desc.role = id;
    desc.dtype = tensor->dtype;
    for (const uint64_t extent : tensor->shape.dims()) {
      if (extent > UINT32_MAX) fail(BRIM_UNSUPPORTED, "the tensor {} has a dimension of {}", tensor->name, extent);
      desc.dim[desc.rank++] = {BRIM_SYM_NONE, static_cast<uint32_t>(extent)};
    }
    set_contiguous(desc);
    return desc;
  });
}

brim_value Builder::state(uint32_t id) {
  if (id >= description_.states.size()) fail(BRIM_INVALID_ARGUMENT, "state {} was not declared by describe", id);
  return once(BRIM_VALUE_STATE, id, [&] {
    // Not an array in memory: the shape says what one token stores, [heads, width of K, width of V], or one sequence,
    // [elements].
    const brim_state_desc& s = description_.states[id];
    brim_value_desc desc{};
    desc.kind = BRIM_VALUE_STATE;
    desc.role = id;
    if (s.kind == BRIM_STATE_CONV || s.kind == BRIM_STATE_RECURRENT) {
      desc.rank = 1;
      desc.dim[0].k = static_cast<uint32_t>(s.elements);
      return desc;
    }
    desc.rank = 3;
    desc.dim[0].k = s.n_head;
    desc.dim[1].k = s.k_width;
    desc.dim[2].k = s.v_width;
    return desc;
  });
}

const brim_value_desc* Builder::operand(brim_value v) const {
  if (v == 0) return nullptr;
  if (v >= graph_->values_.size()) fail(BRIM_INVALID_ARGUMENT, "value {} does not exist", v);
  return &graph_->values_[v];
}

// A state with a window gives back what fell out of it: nobody may look further.
void Builder::check_window(const NodeDraft& draft) const {
  const uint32_t kept = description_.states[draft.in[1]->role].window;
  const auto& attr = *static_cast<const brim_attention_attr*>(draft.attr);
  if (kept == 0 || ((draft.must & BRIM_ATTENTION_SLIDING_WINDOW) && attr.window <= kept)) return;
  fail(BRIM_INVALID_ARGUMENT, "the state keeps a window of {} tokens; attention over it needs one that is not larger",
       kept);
}

void Builder::emit(uint32_t op, uint32_t op_rev, uint64_t must, uint64_t hints, const void* attr, const brim_value* in,
                   uint32_t n_in, brim_value* out, uint32_t n_out) {
  Graph& g = *graph_;
  std::vector<const brim_value_desc*> inputs;
  for (uint32_t i = 0; i < n_in; ++i) inputs.push_back(operand(in[i]));
  std::vector<brim_value_desc> outputs(n_out);

  std::vector<std::byte> attribute(attribute_size(op));
  if (!attribute.empty() && attr) {
    uint32_t theirs = 0;
    std::memcpy(&theirs, attr, sizeof(theirs));
    if (theirs < sizeof(theirs)) fail(BRIM_INVALID_ARGUMENT, "the attributes' struct_size is {}", theirs);
    // A tail that this runtime does not know may only be zero: an unknown attribute is never ignored.
    const auto* bytes = static_cast<const std::byte*>(attr);
    for (size_t i = attribute.size(); i < theirs; ++i) {
      if (bytes[i] != std::byte{0}) fail(BRIM_UNSUPPORTED, "the attributes hold more than this runtime knows");
    }
    std::memcpy(attribute.data(), attr, std::min<size_t>(theirs, attribute.size()));
    const auto mine = static_cast<uint32_t>(attribute.size());
    std::memcpy(attribute.data(), &mine, sizeof(mine));
  }

  NodeDraft draft{op, op_rev, must, attr ? attribute.data() : nullptr, inputs, {in, n_in}, outputs};
  try {
    infer(draft);
    if (op == BRIM_OP_ATTENTION) check_window(draft);
  } catch (const Error& e) {
    std::string shapes;
    for (const auto* v : inputs) shapes += (shapes.empty() ? "" : ", ") + (v ? shape_text(*v) : std::string("-"));
    const std::string where = layer_ == BRIM_NO_LAYER ? std::string() : fmt::format("layer {}, ", layer_);
    throw Error(e.code, fmt::format("{}{}({}): {}", where, op_name(op), shapes, e.what()));
  }

  const auto index = static_cast<uint32_t>(g.nodes_.size());
  auto& ins = g.operands_.emplace_back(in, in + n_in);
  auto& outs = g.operands_.emplace_back();
  for (uint32_t i = 0; i < n_out; ++i) {
    const brim_value v = add(outputs[i]);
    g.values_[v].producer = index;
    outs.push_back(v);
    out[i] = v;
  }
  auto& kept = g.attributes_.emplace_back(std::move(attribute));
  g.attribute_sizes_.push_back(static_cast<uint32_t>(kept.size()));
  brim_node node{};
  node.op = op;
  node.op_rev = op_rev;
  node.must = draft.must;
  node.hints = hints;
  node.n_in = n_in;
  node.n_out = n_out;
  node.in = ins.data();
  node.out = outs.data();
  node.attr = kept.empty() ? nullptr : kept.data();
  node.layer = layer_;
  g.nodes_.push_back(node);
}

void Builder::output(uint32_t role, brim_value value) {
  if (role < BRIM_OUTPUT_LOGITS || role > BRIM_OUTPUT_POOLED) {
    fail(BRIM_UNSUPPORTED, "output role {} is not known to this runtime", role);
  }
  if (!operand(value)) fail(BRIM_INVALID_ARGUMENT, "output {} has no value", role);
  // An output owns its storage and is nothing else: a view, or a value that is an output already, is copied.
  if (graph_->values_[value].kind != BRIM_VALUE_TEMP) {
    const brim_copy_attr attr = {sizeof(attr), BRIM_DTYPE_F32};
    emit(BRIM_OP_COPY, 1, 0, 0, &attr, &value, 1, &value, 1);
  }
  brim_value_desc& desc = graph_->values_[value];
  if (desc.dtype != BRIM_DTYPE_F32 || desc.rank != 2) {
    fail(BRIM_INVALID_ARGUMENT, "output {} is {} {}; expected f32 rows", role, brim_dtype_name(desc.dtype),
         shape_text(desc));
  }
  desc.kind = BRIM_VALUE_OUTPUT;
  desc.role = role;
  graph_->outputs_.push_back({role, value});
}

std::unique_ptr<const Graph> Builder::build(ArchitectureRef architecture) {
  static const auto guarded = [](brim_builder* b, auto call) -> brim_value {
    brim_value v = 0;
    of(b).sticky_.run([&] { v = call(of(b)); });
    return v;
  };
  static const brim_builder_api api = {
      .struct_size = sizeof(brim_builder_api),
      .reserved0 = 0,
      .model = [](brim_builder*, const brim_model_desc*) {},
      .add_tensor = [](brim_builder* b, const brim_tensor_desc*, uint32_t*) -> brim_status {
        of(b).sticky_.report(BRIM_FAILED_PRECONDITION, str("build called add_tensor, which is for describe"));
        return BRIM_FAILED_PRECONDITION;
      },
      .add_state = [](brim_builder* b, const brim_state_desc*, uint32_t*) -> brim_status {
        of(b).sticky_.report(BRIM_FAILED_PRECONDITION, str("build called add_state, which is for describe"));
        return BRIM_FAILED_PRECONDITION;
      },
      .input = [](brim_builder* b, uint32_t role) { return guarded(b, [&](Builder& x) { return x.input(role); }); },
      .weight = [](brim_builder* b, uint32_t id) { return guarded(b, [&](Builder& x) { return x.weight(id); }); },
      .state = [](brim_builder* b, uint32_t id) { return guarded(b, [&](Builder& x) { return x.state(id); }); },
      .scope = [](brim_builder* b, uint32_t layer) { of(b).layer_ = layer; },
      .emit = [](brim_builder* b, uint32_t op, uint32_t op_rev, uint64_t must, uint64_t hints, const void* attr,
                 const brim_value* in, uint32_t n_in, brim_value* out, uint32_t n_out) -> brim_status {
        std::fill_n(out, n_out, 0);
        return of(b).sticky_.run([&] { of(b).emit(op, op_rev, must, hints, attr, in, n_in, out, n_out); });
      },
      .output = [](brim_builder* b, uint32_t role, brim_value v) { of(b).sticky_.run([&] { of(b).output(role, v); }); },
      .error = [](brim_builder* b, brim_status code, brim_str message) { of(b).sticky_.report(code, message); }};

  const brim_status status = architecture.api->build(architecture.instance, &meta_api(), as_meta(file_), &info_, &api,
                                                     reinterpret_cast<brim_builder*>(this));
  sticky_.rethrow(status, fmt::format("{}: building the graph", file_.path()));
  for (uint32_t role = BRIM_OUTPUT_LOGITS; role <= BRIM_OUTPUT_POOLED; ++role) {
    const bool given = std::any_of(graph_->outputs_.begin(), graph_->outputs_.end(),
                                   [&](const Graph::Output& o) { return o.role == role; });
    if ((info_.outputs >> role & 1) && !given) {
      fail(BRIM_UNSUPPORTED, "{}: the architecture gives no {}", file_.path(),
           role == BRIM_OUTPUT_LOGITS   ? "logits"
           : role == BRIM_OUTPUT_HIDDEN ? "hidden states"
                                        : "pooled states");
    }
  }
  graph_->finish(info_.phase);
  return std::move(graph_);
}

std::unique_ptr<const Graph> build(ArchitectureRef architecture, const model::ModelFile& file,
                                   const Description& description, const brim_build_info& info) {
  return Builder(file, description, info).build(architecture);
}

}  // namespace brim::graph
