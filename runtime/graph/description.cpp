#include <base/error.hpp>
#include <graph/description.hpp>
#include <graph/meta_access.hpp>
#include <graph/sticky.hpp>

namespace brim::graph {
namespace {

struct Describer {
  const model::ModelFile& file;
  Description result;
  Sticky sticky;

  static Describer& of(brim_builder* builder) { return *reinterpret_cast<Describer*>(builder); }
};

void model(brim_builder* builder, const brim_model_desc* desc) {
  Describer& d = Describer::of(builder);
  d.sticky.run([&] { d.result.model = sized_copy(*desc, "brim_model_desc"); });
}

// The first of the declared names that the file has. Transforms other than NONE belong to file families that model/
// does not read.
const model::Tensor* find(const model::ModelFile& file, const brim_tensor_desc& desc, std::string* tried) {
  for (uint32_t i = 0; i < desc.n_sources; ++i) {
    brim_tensor_source source{};
    std::memcpy(&source, BRIM_ELEM(brim_tensor_source, desc.sources, desc.source_stride, i),
                std::min<size_t>(sizeof(source), desc.source_stride));
    if (source.files != BRIM_FILES_GGUF) continue;
    if (source.transform != BRIM_TRANSFORM_NONE) {
      fail(BRIM_UNSUPPORTED, "tensor {}: transform {} of GGUF tensors is not known to this runtime", view(source.name),
           source.transform);
    }
    if (const model::Tensor* tensor = file.find(view(source.name))) return tensor;
    if (!tried->empty()) *tried += " or ";
    *tried += view(source.name);
  }
  return nullptr;
}

void add_tensor_checked(Describer& d, const brim_tensor_desc& desc, uint32_t* id) {
  if (desc.rank < 1 || desc.rank > BRIM_MAX_RANK)
    fail(BRIM_INVALID_ARGUMENT, "a tensor of rank {} was declared", desc.rank);
  std::string tried;
  const model::Tensor* tensor = find(d.file, desc, &tried);
  if (!tensor && !(desc.flags & BRIM_TENSOR_OPTIONAL)) {
    fail(BRIM_NOT_FOUND,
         "{}: the tensor {} is missing; the file is incomplete or of another variant of the architecture",
         d.file.path(), tried.empty() ? "without a name for GGUF files" : tried);
  }
  if (tensor) {
    model::Shape wanted;
    wanted.rank = desc.rank;
    std::copy_n(desc.dim, desc.rank, wanted.extents.begin());
    if (!(tensor->shape == wanted)) {
      fail(BRIM_DATA_CORRUPT, "{}: the tensor {} has the shape {}; the metadata asks for {}", d.file.path(),
           tensor->name, to_string(tensor->shape), to_string(wanted));
    }
    d.file.require(tensor->name);
  }
  *id = static_cast<uint32_t>(d.result.weights.size());
  d.result.weights.push_back({tensor, desc.flags, desc.layer});
}

brim_status add_tensor(brim_builder* builder, const brim_tensor_desc* desc, uint32_t* id) {
  Describer& d = Describer::of(builder);
  return d.sticky.run([&] { add_tensor_checked(d, sized_copy(*desc, "brim_tensor_desc"), id); });
}

brim_status add_state(brim_builder* builder, const brim_state_desc* given, uint32_t* id) {
  Describer& d = Describer::of(builder);
  return d.sticky.run([&] {
    const brim_state_desc desc = sized_copy(*given, "brim_state_desc");
    if (desc.kind < BRIM_STATE_KV_FULL || desc.kind > BRIM_STATE_RECURRENT) {
      fail(BRIM_UNSUPPORTED, "state kind {} is not known to this runtime", desc.kind);
    }
    if (desc.shares_with > d.result.states.size()) {
      fail(BRIM_INVALID_ARGUMENT, "a state shares with state {}, which is not declared yet", desc.shares_with - 1);
    }
    const bool slots = desc.kind == BRIM_STATE_CONV || desc.kind == BRIM_STATE_RECURRENT;
    if (slots ? desc.elements == 0 || desc.elements > UINT32_MAX : desc.n_head == 0 || desc.k_width == 0) {
      fail(BRIM_INVALID_ARGUMENT, "state {} holds nothing, or more than 2^32 values per sequence",
           d.result.states.size());
    }
    *id = static_cast<uint32_t>(d.result.states.size());
    d.result.states.push_back(desc);
  });
}

void error(brim_builder* builder, brim_status code, brim_str message) {
  Describer::of(builder).sticky.report(code, message);
}

// Build's calls have no meaning here; they say so.
brim_value no_value(brim_builder* builder, uint32_t) {
  Describer::of(builder).sticky.report(BRIM_FAILED_PRECONDITION, str("describe called a function that is for build"));
  return 0;
}
void no_scope(brim_builder*, uint32_t) {}
void no_output(brim_builder* builder, uint32_t, brim_value) { no_value(builder, 0); }
brim_status no_emit(brim_builder* builder, uint32_t, uint32_t, uint64_t, uint64_t, const void*, const brim_value*,
                    uint32_t, brim_value* out, uint32_t n_out) {
  std::fill_n(out, n_out, no_value(builder, 0));
  return BRIM_FAILED_PRECONDITION;
}

}  // namespace

Description describe(ArchitectureRef architecture, const model::ModelFile& file) {
  static const brim_builder_api api = {sizeof(brim_builder_api),
                                       0,
                                       model,
                                       add_tensor,
                                       add_state,
                                       no_value,
                                       no_value,
                                       no_value,
                                       no_scope,
                                       no_emit,
                                       no_output,
                                       error};
  Describer d{file, {}, {}};
  const brim_status status = architecture.api->describe(architecture.instance, &meta_api(), as_meta(file), &api,
                                                        reinterpret_cast<brim_builder*>(&d));
  d.sticky.rethrow(status, fmt::format("{}: describing the model", file.path()));
  const brim_model_desc& m = d.result.model;
  if (m.n_layers == 0 || m.width == 0 || m.n_position < 1 || m.n_position > 4) {
    fail(BRIM_INVALID_ARGUMENT,
         "{}: the architecture plugin described a model of {} layers, width {} and {} position components", file.path(),
         m.n_layers, m.width, m.n_position);
  }
  return std::move(d.result);
}

}  // namespace brim::graph
