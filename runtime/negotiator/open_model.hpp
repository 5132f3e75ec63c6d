// A model file together with the plugin that knows its architecture: what planning, loading and text all start from.
// Opening reads headers only. A file that no plugin knows, or that holds a vocabulary alone, opens too; what it lacks
// is an error when it is asked for.
#pragma once

#include <base/error.hpp>
#include <graph/description.hpp>
#include <loader/loader.hpp>
#include <memory>
#include <model/model_file.hpp>
#include <negotiator/learned.hpp>
#include <negotiator/ledger.hpp>
#include <optional>
#include <string>
#include <topology/topology.hpp>

namespace brim::negotiator {

// What the models of one runtime share.
struct Machine {
  std::unique_ptr<loader::Loader> loader;
  topology::Topology topology;
  std::shared_ptr<Ledger> ledger = Ledger::of_folder("");  // of what loads were promised
  std::shared_ptr<Learned> learned;                        // null: the host named no file for it
};

struct OpenModel {
  std::shared_ptr<Machine> machine;
  model::ModelFile file;
  std::shared_ptr<const loader::Architecture> architecture;  // null: no plugin knows the file
  std::optional<graph::Description> description;             // empty where architecture is, or where describing failed
  Error why_not{BRIM_OK, ""};                                // what describe() said, or that no plugin matched

  graph::ArchitectureRef ref() const { return {&architecture->api, architecture->plugin->instance()}; }
  // The description, or throws why there is none.
  const graph::Description& require_description() const;
};

// `path`: a file, the name of a model shape (a file of such a name is opened as "./NAME"), or "header:" and a file of
// which no more than the header has to be there: both plan and do not load. `architecture`: a
// plugin's id, which wins over every score; empty: the plugin with the highest score. Throws NOT_FOUND for an id that
// is not loaded and INVALID_ARGUMENT, naming both, where two plugins have the highest score.
std::shared_ptr<const OpenModel> open_model(std::shared_ptr<Machine> machine, const std::string& path,
                                            std::string_view architecture);

}  // namespace brim::negotiator
