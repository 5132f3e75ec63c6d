// brim_model_open, _get_info, _describe and _close.
#include <api/guard.hpp>
#include <api/handles.hpp>
#include <base/json.hpp>

using namespace brim;
using namespace brim::api;

namespace {

// Elements of an array that a description shows: one per layer always, a vocabulary's in part.
constexpr size_t kShown = 1024;

std::shared_ptr<Model> open(const std::shared_ptr<Runtime>& runtime, const std::string& path, std::string_view plugin) {
  auto model = std::make_shared<Model>();
  model->runtime = runtime;
  model->open =
      negotiator::open_model(runtime->machine, path, plugin.empty() ? std::string_view(runtime->architecture) : plugin);
  const model::Metadata& metadata = model->open->file.metadata();
  model->name = metadata.string("general.name").value_or("");
  model->architecture = metadata.string("general.architecture").value_or("");
  model->file_type = model->open->file.type_name();
  if (model->open->architecture) model->plugin = model->open->architecture->plugin->id();
  try {
    model->tokenizer.emplace(text::Tokenizer::from_metadata(metadata));
  } catch (const Error& e) {
    model->why_no_tokenizer = e;
  }
  return model;
}

void write(Json& json, const model::Value& value) {
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string_view> || std::is_arithmetic_v<T>) {
          json.value(v);
        } else {
          json.array([&] {
            for (size_t i = 0; i < v.size() && i < kShown; ++i) {
              if constexpr (std::is_same_v<T, std::vector<bool>>) {
                json.value(static_cast<bool>(v[i]));
              } else {
                json.value(v[i]);
              }
            }
            if (v.size() > kShown) json.value(fmt::format("... and {} more", v.size() - kShown));
          });
        }
      },
      value);
}

// {"family": "Llama-3"}, {"error": why it cannot be rendered}, or null where the file has none.
void write_chat_template(Json& json, const Model& model) {
  if (!model.tokenizer) {
    json.value(nullptr);
    return;
  }
  std::string_view what = "family";
  std::string words;
  try {
    words = text::ChatTemplate::from_metadata(model.open->file.metadata(), model.tokenizer->vocabulary()).family();
  } catch (const Error& e) {
    if (e.code == BRIM_FAILED_PRECONDITION) {
      json.value(nullptr);
      return;
    }
    what = "error";
    words = e.what();
  }
  json.object([&] { json.member(what, words); });
}

}  // namespace

brim_status brim_model_open(brim_runtime* runtime, brim_str path, brim_str architecture_plugin, brim_model** out,
                            brim_error* error) {
  return guard(error, [&] {
    need(out, "out") = nullptr;
    const auto& shared = need(runtime, "runtime").runtime;
    auto model =
        ::open(shared, std::string(read_text(path, "path")), read_text(architecture_plugin, "architecture_plugin"));
    *out = new brim_model{std::move(model)};
  });
}

brim_status brim_model_get_info(brim_model* handle, brim_model_info* out, brim_error* error) {
  return guard(error, [&] {
    Model& model = *need(handle, "model").model;
    const model::ModelFile& file = model.open->file;
    brim_model_info info{};
    if (model.open->description) {
      const brim_model_desc& d = model.open->description->model;
      info.n_layers = d.n_layers;
      info.n_vocab = d.n_vocab;
      info.width = d.width;
      info.n_ctx_train = d.n_ctx_train;
    }
    info.n_tensors = static_cast<uint32_t>(file.tensors().size());
    {
      const std::lock_guard lock(model.mutex);
      info.loaded = model.engine != nullptr;
    }
    if (model.tokenizer) info.n_tokens = static_cast<uint32_t>(model.tokenizer->vocabulary().size());
    for (const model::Tensor& tensor : file.tensors()) info.n_parameters += tensor.shape.elements();
    info.file_bytes = file.file_bytes();
    info.name = str(model.name);
    info.architecture = str(model.architecture);
    info.file_type = str(model.file_type);
    info.architecture_plugin = str(model.plugin);
    write_struct(out, info, "brim_model_info");
  });
}

brim_status brim_model_describe(brim_model* handle, char* buf, uint64_t cap, uint64_t* need_bytes, brim_error* error) {
  return guard(error, [&] {
    const Model& model = *need(handle, "model").model;
    const model::Metadata& metadata = model.open->file.metadata();
    Json json;
    json.object([&] {
      json.key("metadata").object([&] {
        for (const std::string_view key : metadata.keys()) write(json.key(key), *metadata.find(key));
      });
      json.key("tensors").array([&] {
        for (const model::Tensor& tensor : model.open->file.tensors()) {
          json.object([&] {
            json.member("name", tensor.name).member("dtype", tensor.type_name);
            json.key("shape").array([&] {
              for (const uint64_t extent : tensor.shape.dims()) json.value(extent);
            });
            json.member("bytes", tensor.bytes);
          });
        }
      });
      write_chat_template(json.key("chat_template"), model);
    });
    write_text(json.text(), buf, cap, need_bytes);
  });
}

void brim_model_close(brim_model* model) { delete model; }
