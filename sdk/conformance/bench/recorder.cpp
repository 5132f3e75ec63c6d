#include "recorder.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace check {
namespace {

std::string text(brim_str s) { return s.len == 0 ? std::string() : std::string(s.ptr, static_cast<size_t>(s.len)); }

// What ops.h says of each op with text: which inputs may not be absent, which one is a state, whether it writes it.
struct Rule {
  uint32_t op;
  uint64_t features;
  uint32_t attr_bytes;  // 0: has none
  uint32_t required;    // bit per input
  uint32_t most_in, n_out;
  int32_t state = -1;
  bool writes = false;
};
constexpr Rule kRules[] = {
    {BRIM_OP_RESHAPE, 0, sizeof(brim_shape_attr), 1, 1, 1},
    {BRIM_OP_SLICE, 0, sizeof(brim_slice_attr), 1, 1, 1},
    {BRIM_OP_PERMUTE, 0, sizeof(brim_permute_attr), 1, 1, 1},
    {BRIM_OP_BROADCAST, 0, sizeof(brim_shape_attr), 1, 1, 1},
    {BRIM_OP_COPY, 0, sizeof(brim_copy_attr), 1, 1, 1},
    {BRIM_OP_CONCAT, 0, sizeof(brim_concat_attr), 3, 2, 1},
    {BRIM_OP_GATHER_ROWS, 0, 0, 3, 2, 1},
    {BRIM_OP_SCATTER_ROWS, 0, sizeof(brim_scatter_attr), 7, 3, 1},
    {BRIM_OP_UNARY, 0, sizeof(brim_unary_attr), 1, 1, 1},
    {BRIM_OP_BINARY, 0, sizeof(brim_binary_attr), 3, 2, 1},
    {BRIM_OP_AFFINE_CLAMP, BRIM_AFFINE_SOFTCAP, sizeof(brim_affine_attr), 1, 1, 1},
    {BRIM_OP_GLU, 0, sizeof(brim_glu_attr), 1, 2, 1},
    {BRIM_OP_SOFTMAX, 0, sizeof(brim_softmax_attr), 1, 2, 1},
    {BRIM_OP_RMS_NORM, 0, sizeof(brim_norm_attr), 1, 2, 1},
    {BRIM_OP_LAYER_NORM, 0, sizeof(brim_norm_attr), 1, 3, 1},
    {BRIM_OP_L2_NORM, 0, sizeof(brim_norm_attr), 1, 1, 1},
    {BRIM_OP_ARGMAX, 0, 0, 1, 1, 1},
    {BRIM_OP_TOPK, 0, sizeof(brim_topk_attr), 1, 1, 2},
    {BRIM_OP_MATMUL, BRIM_MATMUL_BIAS | BRIM_MATMUL_BATCHED | BRIM_MATMUL_HEADS, 0, 3, 3, 1},
    {BRIM_OP_GROUPED_MATMUL, BRIM_GROUPED_MATMUL_BIAS, 0, 7, 4, 1},
    {BRIM_OP_MOE_ROUTE, BRIM_MOE_ROUTE_BIAS | BRIM_MOE_ROUTE_GROUPS, sizeof(brim_moe_route_attr), 1, 2, 2},
    {BRIM_OP_MOE_COMBINE, 0, 0, 3, 2, 1},
    {BRIM_OP_ROPE, BRIM_ROPE_YARN | BRIM_ROPE_FACTORS | BRIM_ROPE_SECTIONS | BRIM_ROPE_INVERSE, sizeof(brim_rope_attr),
     3, 3, 1},
    {BRIM_OP_KV_WRITE, 0, 0, 3, 3, 1, 0, true},
    {BRIM_OP_ATTENTION,
     BRIM_ATTENTION_CAUSAL | BRIM_ATTENTION_SLIDING_WINDOW | BRIM_ATTENTION_SOFTCAP | BRIM_ATTENTION_SINKS |
         BRIM_ATTENTION_V_FROM_K,
     sizeof(brim_attention_attr), 3, 3, 1, 1},
    {BRIM_OP_CAUSAL_CONV1D, BRIM_CONV1D_BIAS, sizeof(brim_conv1d_attr), 7, 4, 2, 1, true},
    {BRIM_OP_LINEAR_ATTENTION, BRIM_LINEAR_DECAY | BRIM_LINEAR_DELTA | BRIM_LINEAR_HEADS_MODULO,
     sizeof(brim_linear_attention_attr), 39, 6, 2, 5, true}};

}  // namespace

Recorder::Recorder(const ModelData& data)
    : data_(data), table_(fenced_struct(functions(), sizeof(brim_builder_api) + 32)) {
  table_.seal();
}

void Recorder::sin(std::string what) {
  if (sins_.size() < 12) sins_.push_back(std::move(what));
}

brim_status Recorder::stick(brim_status code, std::string message) {
  if (status_ != BRIM_OK) return status_;
  status_ = code;
  error_ = std::move(message);
  return code;
}

bool Recorder::in(Stage stage, const char* call) {
  if (stage_ != stage) {
    sin(fmt::format("{} is called in {}", call, stage == Stage::kDescribe ? "build" : "describe"));
    stick(BRIM_FAILED_PRECONDITION, std::string(call) + " is called in the wrong place");
  }
  return status_ == BRIM_OK;
}

void Recorder::begin_build(const brim_build_info& info) {
  stage_ = Stage::kBuild;
  info_ = info;
  values_.assign(1, 0);
  written_.clear();
  outputs_ = 0;
  record_.clear();
}

void Recorder::end_describe() {
  if (status_ != BRIM_OK) return;
  if (!modelled_) sin("describe: model() was not called");
  if (tensors_.empty()) sin("describe: no tensor was declared");
}

void Recorder::end_build() {
  if (status_ == BRIM_OK && outputs_ != info_.outputs) {
    sin(fmt::format("build: outputs {:#x} were wanted, {:#x} were given", info_.outputs, outputs_));
  }
}

brim_status Recorder::add_tensor(const brim_tensor_desc& desc, uint32_t* id) {
  if (!in(Stage::kDescribe, "add_tensor")) return status_;
  if (desc.rank < 1 || desc.rank > BRIM_MAX_RANK || desc.n_sources == 0) {
    sin(fmt::format("add_tensor: rank {} and {} sources", desc.rank, desc.n_sources));
    return stick(BRIM_INVALID_ARGUMENT, "a tensor without shape or source");
  }
  if (desc.layer != BRIM_NO_LAYER && desc.layer >= model_.n_layers) {
    sin(fmt::format("add_tensor: layer {} of {}", desc.layer, model_.n_layers));
  }
  const std::vector<uint64_t> dims(desc.dim, desc.dim + desc.rank);
  record_ += fmt::format("tensor flags {} layer {} [{}]", desc.flags, desc.layer, fmt::join(dims, ", "));
  const ModelData::Tensor* found = nullptr;
  std::string first;
  for (uint32_t i = 0; i < desc.n_sources; ++i) {
    const auto* source = BRIM_ELEM(brim_tensor_source, desc.sources, desc.source_stride, i);
    const std::string name = text(source->name);
    record_ += fmt::format(" {}:{}:{}:{}", source->files, source->transform, source->argument, name);
    if (source->files != BRIM_FILES_GGUF) continue;
    if (first.empty()) first = name;
    const auto at = data_.tensors.find(name);
    if (found == nullptr && at != data_.tensors.end()) found = &at->second;
  }
  record_ += '\n';
  if (found == nullptr && (desc.flags & BRIM_TENSOR_OPTIONAL) == 0) {
    refused_tensor_ = true;
    return stick(BRIM_NOT_FOUND, "tensor " + first + " is missing");
  }
  if (found != nullptr && found->dims != dims) {
    refused_tensor_ = true;
    return stick(BRIM_DATA_CORRUPT, fmt::format("tensor {} is [{}], expected [{}]", first, fmt::join(found->dims, ", "),
                                                fmt::join(dims, ", ")));
  }
  *id = static_cast<uint32_t>(tensors_.size());
  tensors_.push_back(found != nullptr);
  return BRIM_OK;
}

brim_status Recorder::emit(uint32_t op, uint32_t rev, uint64_t must, uint64_t hints, const void* attr,
                           const brim_value* in_values, uint32_t n_in, brim_value* out, uint32_t n_out) {
  std::fill_n(out, n_out, 0);
  if (!in(Stage::kBuild, "emit")) return status_;
  const auto rule = std::find_if(std::begin(kRules), std::end(kRules), [&](const Rule& r) { return r.op == op; });
  if (rule == std::end(kRules)) {
    sin(fmt::format("emit: op {} has no text in this minor", op));
    return stick(BRIM_UNSUPPORTED, "an op without text");
  }
  if (rev != 1) sin(fmt::format("emit: revision {} of op {}; this minor defines revision 1", rev, op));
  if ((must & ~rule->features) != 0)
    sin(fmt::format("emit: op {} with feature bits {:#x}; defined are {:#x}", op, must, rule->features));
  const uint32_t state_out = rule->writes ? n_out : 0;  // the last output is the state's next version
  if (n_in > rule->most_in || n_out != rule->n_out) {
    sin(fmt::format("emit: op {} with {} inputs and {} outputs; it has at most {} and {}", op, n_in, n_out,
                    rule->most_in, rule->n_out));
    return stick(BRIM_INVALID_ARGUMENT, "wrong number of values");
  }
  for (uint32_t i = 0; i < rule->most_in; ++i) {
    const brim_value v = i < n_in ? in_values[i] : 0;
    if (v == 0) {
      if (rule->required >> i & 1) sin(fmt::format("emit: op {} lacks input {}", op, i));
      continue;
    }
    if (v >= values_.size()) {
      sin(fmt::format("emit: op {} reads value {}, which nothing has made", op, v));
    } else if (is_state(v) != (rule->state == static_cast<int32_t>(i))) {
      sin(fmt::format("emit: input {} of op {} is {}", i, op, is_state(v) ? "a state" : "no state"));
    }
  }
  uint32_t size = 0;
  if (attr != nullptr) std::memcpy(&size, attr, sizeof(size));
  if (rule->attr_bytes != 0 && size < rule->attr_bytes) {
    sin(fmt::format("emit: op {}'s attributes have {} bytes, expected {}", op, size, rule->attr_bytes));
  }
  record_ += fmt::format("node {} rev {} must {:#x} hints {:#x} (", op, rev, must, hints);
  for (uint32_t i = 0; i < n_in; ++i) record_ += fmt::format(" {}", in_values[i]);
  record_ += " ) ";
  for (uint32_t i = 0; attr != nullptr && i < std::min(size, 4096u); ++i) {
    record_ += fmt::format("{:02x}", static_cast<const uint8_t*>(attr)[i]);
  }
  for (uint32_t i = 0; i < n_out; ++i) {
    out[i] = static_cast<brim_value>(values_.size());
    values_.push_back(i + 1 == state_out && rule->state >= 0 && static_cast<uint32_t>(rule->state) < n_in &&
                              is_state(in_values[rule->state])
                          ? values_[in_values[rule->state]]
                          : 0);
  }
  if (rule->writes && n_in > static_cast<uint32_t>(rule->state) && !written_.insert(in_values[rule->state]).second) {
    sin(fmt::format("emit: two nodes write the same version of a state (op {}, value {})", op, in_values[rule->state]));
  }
  record_ += '\n';
  return BRIM_OK;
}

brim_builder_api Recorder::functions() {
  brim_builder_api api{};
  api.model = [](brim_builder* b, const brim_model_desc* desc) {
    Recorder& r = of(b);
    if (!r.in(Stage::kDescribe, "model")) return;
    if (r.modelled_) r.sin("describe: model() is called twice");
    r.modelled_ = true;
    std::memcpy(static_cast<void*>(&r.model_), desc, std::min<size_t>(desc->struct_size, sizeof(r.model_)));
    const brim_model_desc& m = r.model_;
    r.record_ += fmt::format("model layers {} vocab {} width {} ctx {} position {} outputs {:#x}\n", m.n_layers,
                             m.n_vocab, m.width, m.n_ctx_train, m.n_position, m.outputs);
    if (m.n_layers == 0 || m.width == 0 || m.n_position < 1 || m.n_position > 4 || m.outputs == 0) {
      r.sin("describe: layers, width, position components or outputs of the model are 0 or out of range");
    }
  };
  api.add_tensor = [](brim_builder* b, const brim_tensor_desc* desc, uint32_t* id) {
    return of(b).add_tensor(*desc, id);
  };
  api.add_state = [](brim_builder* b, const brim_state_desc* desc, uint32_t* id) -> brim_status {
    Recorder& r = of(b);
    if (!r.in(Stage::kDescribe, "add_state")) return r.status_;
    const brim_state_desc& s = *desc;
    r.record_ += fmt::format("state {} layer {} heads {} {} {} window {} shares {} elements {}\n", s.kind, s.layer,
                             s.n_head, s.k_width, s.v_width, s.window, s.shares_with, s.elements);
    if (s.kind < BRIM_STATE_KV_FULL || s.kind > BRIM_STATE_RECURRENT) r.sin(fmt::format("add_state: kind {}", s.kind));
    if (s.shares_with > r.n_states_)
      r.sin(fmt::format("add_state: shares with state {}, which is no earlier one", s.shares_with - 1));
    if (s.layer >= r.model_.n_layers) r.sin(fmt::format("add_state: layer {} of {}", s.layer, r.model_.n_layers));
    *id = r.n_states_++;
    return BRIM_OK;
  };
  api.input = [](brim_builder* b, uint32_t role) -> brim_value {
    Recorder& r = of(b);
    if (!r.in(Stage::kBuild, "input")) return 0;
    if (role < BRIM_INPUT_TOKEN || role > BRIM_INPUT_ADAPTER) r.sin(fmt::format("input: unknown role {}", role));
    if (role == BRIM_INPUT_EMBEDDING && r.info_.embeddings == 0) r.sin("input: EMBEDDING, though rows come as tokens");
    if (role == BRIM_INPUT_TOKEN && r.info_.embeddings != 0) r.sin("input: TOKEN, though rows come as embeddings");
    r.record_ += fmt::format("input {}\n", role);
    r.values_.push_back(0);
    return static_cast<brim_value>(r.values_.size() - 1);
  };
  api.weight = [](brim_builder* b, uint32_t id) -> brim_value {
    Recorder& r = of(b);
    if (!r.in(Stage::kBuild, "weight")) return 0;
    r.record_ += fmt::format("weight {}\n", id);
    if (id >= r.tensors_.size()) {
      r.sin(fmt::format("weight: tensor {} of {}", id, r.tensors_.size()));
      return 0;
    }
    if (!r.tensors_[id]) return 0;
    r.values_.push_back(0);
    return static_cast<brim_value>(r.values_.size() - 1);
  };
  api.state = [](brim_builder* b, uint32_t id) -> brim_value {
    Recorder& r = of(b);
    if (!r.in(Stage::kBuild, "state")) return 0;
    r.record_ += fmt::format("state {}\n", id);
    if (id >= r.n_states_) {
      r.sin(fmt::format("state: state {} of {}", id, r.n_states_));
      return 0;
    }
    r.values_.push_back(1 + id);
    return static_cast<brim_value>(r.values_.size() - 1);
  };
  api.scope = [](brim_builder* b, uint32_t layer) {
    Recorder& r = of(b);
    r.record_ += fmt::format("scope {}\n", layer);
    if (layer != BRIM_NO_LAYER && layer >= r.model_.n_layers)
      r.sin(fmt::format("scope: layer {} of {}", layer, r.model_.n_layers));
  };
  api.emit = [](brim_builder* b, uint32_t op, uint32_t rev, uint64_t must, uint64_t hints, const void* attr,
                const brim_value* in, uint32_t n_in, brim_value* out,
                uint32_t n_out) { return of(b).emit(op, rev, must, hints, attr, in, n_in, out, n_out); };
  api.output = [](brim_builder* b, uint32_t role, brim_value value) {
    Recorder& r = of(b);
    if (!r.in(Stage::kBuild, "output")) return;
    r.record_ += fmt::format("output {} {}\n", role, value);
    if (value == 0 || value >= r.values_.size() || r.is_state(value))
      r.sin(fmt::format("output: value {} cannot be one", value));
    if (role >= 64 || (r.info_.outputs >> role & 1) == 0) {
      r.sin(fmt::format("output: role {} was not wanted", role));
      return;
    }
    if (r.outputs_ >> role & 1) r.sin(fmt::format("output: role {} is given twice", role));
    r.outputs_ |= 1ull << role;
  };
  api.error = [](brim_builder* b, brim_status code, brim_str message) {
    Recorder& r = of(b);
    if (code == BRIM_OK) r.sin("error: is called with OK");
    r.stick(code, text(message));
  };
  return api;
}

}  // namespace check
