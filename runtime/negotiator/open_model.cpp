#include <base/error.hpp>
#include <graph/meta_access.hpp>
#include <model/shapes.hpp>
#include <negotiator/open_model.hpp>

namespace brim::negotiator {
namespace {

constexpr std::string_view kHeader = "header:";

model::ModelFile open_file(const std::string& path) {
  if (path.starts_with(kHeader)) return model::ModelFile::open(path.substr(kHeader.size()), model::Extent::kHeader);
  return model::is_shape_name(path) ? model::make_shape(path) : model::ModelFile::open(path);
}

// A name without a dot is short for one of Brim's own, as in a configuration.
std::shared_ptr<const loader::Architecture> chosen(const Machine& machine, std::string_view name) {
  const std::string id = fmt::format("{}{}", name.find('.') == name.npos ? "brim." : "", name);
  std::string known;
  for (const auto& a : machine.loader->architectures()) {
    if (a->plugin->id() == id) return a;
    known += (known.empty() ? "" : ", ") + a->plugin->id();
  }
  fail(BRIM_NOT_FOUND, "the architecture plugin \"{}\" was chosen and is not loaded; loaded are: {}", id,
       known.empty() ? "none" : known);
}

std::shared_ptr<const loader::Architecture> best_match(const Machine& machine, const model::ModelFile& file) {
  std::shared_ptr<const loader::Architecture> best;
  uint32_t best_score = 0;
  bool tie = false;
  std::string rival;
  for (const auto& a : machine.loader->architectures()) {
    const uint32_t score = a->api.match(a->plugin->instance(), &graph::meta_api(), graph::as_meta(file));
    if (score == 0 || score < best_score) continue;
    tie = score == best_score;
    if (tie) {
      rival = a->plugin->id();
    } else {
      best = a;
      best_score = score;
    }
  }
  if (tie) {
    fail(BRIM_INVALID_ARGUMENT,
         "{}: the plugins {} and {} know the file equally well ({} of 100); choose one by its id: runtime.architecture "
         "in "
         "the configuration, --architecture of the brim command, or the argument of brim_model_open",
         file.path(), best->plugin->id(), rival, best_score);
  }
  return best;
}

Error no_plugin(const Machine& machine, const model::ModelFile& file) {
  const auto name = file.metadata().string("general.architecture");
  std::string known;
  for (const auto& a : machine.loader->architectures()) known += (known.empty() ? "" : ", ") + a->plugin->id();
  return Error(
      BRIM_UNSUPPORTED,
      fmt::format("{}: no architecture plugin knows \"{}\"; loaded are: {}. Put the plugin for it into a plugin "
                  "folder (`brim plugins` lists them)",
                  file.path(), name.value_or("(no general.architecture)"), known.empty() ? "none" : known));
}

}  // namespace

const graph::Description& OpenModel::require_description() const {
  if (!description) throw why_not;
  return *description;
}

std::shared_ptr<const OpenModel> open_model(std::shared_ptr<Machine> machine, const std::string& path,
                                            std::string_view architecture) {
  model::ModelFile file = open_file(path);
  auto plugin = architecture.empty() ? best_match(*machine, file) : chosen(*machine, architecture);
  auto model = std::make_shared<OpenModel>(OpenModel{std::move(machine), std::move(file), std::move(plugin), {}});
  if (!model->architecture) {
    model->why_not = no_plugin(*model->machine, model->file);
  } else if (model->file.tensors().empty()) {
    model->why_not =
        Error(BRIM_FAILED_PRECONDITION,
              fmt::format("{}: the file holds a vocabulary and no weights; it can tokenize, not run", path));
  } else {
    try {
      model->description = graph::describe(model->ref(), model->file);
    } catch (const Error& e) {
      if (e.code == BRIM_OUT_OF_MEMORY) throw;  // says nothing of the file
      model->why_not = e;
    }
  }
  return model;
}

}  // namespace brim::negotiator
