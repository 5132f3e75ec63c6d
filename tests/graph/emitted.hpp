// Graphs for tests: an architecture plugin that is a lambda, run over a file of a few tensors.
#pragma once

#include <functional>
#include <graph/builder.hpp>
#include <memory>

#include "../support/gguf_builder.hpp"
#include "../support/temp_folder.hpp"

namespace brim::test {

// What the lambda of build() calls; every call goes through the C table as a plugin's would.
struct Emitter {
  const brim_builder_api* api;
  brim_builder* builder;

  brim_value input(uint32_t role) const { return api->input(builder, role); }
  brim_value weight(uint32_t id) const { return api->weight(builder, id); }
  brim_value state(uint32_t id) const { return api->state(builder, id); }
  void output(uint32_t role, brim_value v) const { api->output(builder, role, v); }
  brim_status emit(uint32_t op, std::vector<brim_value> in, brim_value* out, const void* attr = nullptr,
                   uint64_t must = 0, uint32_t rev = 1) const {
    return api->emit(builder, op, rev, must, 0, attr, in.data(), static_cast<uint32_t>(in.size()), out, 1);
  }
  brim_value add(brim_value a, brim_value b) const {
    const brim_binary_attr attr = {sizeof(attr), BRIM_BINARY_ADD};
    brim_value out = 0;
    emit(BRIM_OP_BINARY, {a, b}, &out, &attr);
    return out;
  }
  brim_value gather(brim_value table, brim_value index) const {
    brim_value out = 0;
    emit(BRIM_OP_GATHER_ROWS, {table, index}, &out);
    return out;
  }
};

// A model of width 8 and vocabulary 16 with tensors 0: table [16, 8], 1: wide [40, 8], 2: narrow [8, 40], 3: absent,
// and one KV state of 2 heads of 4.
class Emitted {
 public:
  using Build = std::function<void(const Emitter&)>;
  using Describe = std::function<void(const brim_builder_api*, brim_builder*)>;

  explicit Emitted(Build build, Describe more = {}) : build_(std::move(build)), more_(std::move(more)) {
    GgufBuilder b;
    b.set("general.architecture", "test");
    b.f32("table", {16, 8}, std::vector<float>(128)).f32("wide", {40, 8}, std::vector<float>(320));
    b.f32("narrow", {8, 40}, std::vector<float>(320));
    b.write(folder_ / "model.gguf");
    file_ = std::make_unique<model::ModelFile>(model::ModelFile::open(folder_ / "model.gguf"));
    api_.struct_size = sizeof(api_);
    api_.describe = [](brim_plugin* self, const brim_meta_api*, const brim_meta*, const brim_builder_api* api,
                       brim_builder* builder) -> brim_status {
      of(self).declare(api, builder);
      return BRIM_OK;
    };
    api_.build = [](brim_plugin* self, const brim_meta_api*, const brim_meta*, const brim_build_info*,
                    const brim_builder_api* api, brim_builder* builder) -> brim_status {
      of(self).build_({api, builder});
      return BRIM_OK;
    };
  }

  graph::Description describe() { return graph::describe(ref(), *file_); }
  // `outputs`: bits (1 << BRIM_OUTPUT_*) that the graph is built for.
  std::unique_ptr<const graph::Graph> graph(uint64_t outputs = 0, uint32_t phase = BRIM_PHASE_PREFILL) {
    description_ = describe();
    brim_build_info info{};
    info.struct_size = sizeof(info);
    info.phase = phase;
    info.n_ctx = 64;
    info.n_seqs_max = 1;
    info.outputs = outputs;
    return graph::build(ref(), *file_, description_, info);
  }

 private:
  static Emitted& of(brim_plugin* self) { return *reinterpret_cast<Emitted*>(self); }
  graph::ArchitectureRef ref() { return {&api_, reinterpret_cast<brim_plugin*>(this)}; }

  void declare(const brim_builder_api* api, brim_builder* builder) {
    brim_model_desc m{};
    m.struct_size = sizeof(m);
    m.n_layers = 1;
    m.n_vocab = 16;
    m.width = 8;
    m.n_position = 1;
    m.outputs = ~0ull;
    api->model(builder, &m);
    tensor(api, builder, "table", {16, 8});
    tensor(api, builder, "wide", {40, 8});
    tensor(api, builder, "narrow", {8, 40});
    tensor(api, builder, "absent", {8}, BRIM_TENSOR_OPTIONAL);
    brim_state_desc s{};
    s.struct_size = sizeof(s);
    s.kind = BRIM_STATE_KV_FULL;
    s.n_head = 2;
    s.k_width = s.v_width = 4;
    uint32_t id = 0;
    api->add_state(builder, &s, &id);
    if (more_) more_(api, builder);
  }

 public:
  static brim_status tensor(const brim_builder_api* api, brim_builder* builder, std::string_view name,
                            std::vector<uint64_t> shape, uint32_t flags = 0) {
    const brim_tensor_source source = {BRIM_FILES_GGUF, BRIM_TRANSFORM_NONE, 0, 0, {name.data(), name.size()}};
    brim_tensor_desc t{};
    t.struct_size = sizeof(t);
    t.flags = flags;
    t.layer = BRIM_NO_LAYER;
    t.rank = static_cast<uint32_t>(shape.size());
    std::copy(shape.begin(), shape.end(), t.dim);
    t.sources = &source;
    t.n_sources = 1;
    t.source_stride = sizeof(source);
    uint32_t id = 0;
    return api->add_tensor(builder, &t, &id);
  }

 private:
  Build build_;
  Describe more_;
  TempFolder folder_;
  std::unique_ptr<model::ModelFile> file_;
  brim_architecture api_{};
  graph::Description description_;
};

}  // namespace brim::test
