#include <fmt/format.h>

#include <algorithm>
#include <base/error.hpp>
#include <base/os/file.hpp>
#include <exception>
#include <filesystem>
#include <loader/handshake.hpp>
#include <loader/loader.hpp>
#include <loader/manifest.hpp>
#include <loader/paths.hpp>
#include <new>
#include <set>
#include <utility>

namespace brim::loader {
namespace {

namespace fs = std::filesystem;

// The words of what is being handled; for use in a catch block. Memory that ran out in here is no reason against a
// candidate: it goes on.
std::string words_of_refusal() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "it threw something that is no std::exception; tell its author";
  }
}

// The manifests of one folder, sorted by name. Throws in words what keeps it from being read.
std::vector<std::string> manifests_of(const std::string& directory) {
  std::vector<fs::path> found;
  try {
    for (const std::string& name : os::names_in(directory))
      if (name.ends_with(".toml")) found.push_back(from_utf8(directory) / from_utf8(name));
  } catch (const Error& e) {
    fail(e.code, "the plugin folder '{}' cannot be read: {}; create it or take it out of the list", directory,
         e.what());
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> out;
  for (const fs::path& path : found) out.push_back(to_utf8(path.lexically_normal()));
  return out;
}

// A manifest that fits this machine and the candidate that reports on it.
struct Variant {
  Manifest manifest;
  size_t candidate;
};

}  // namespace

Loader::Loader(const Config& config) : team_(config.team), log_(config.log) {
  for (const std::string& directory : config.directories)
    if (!from_utf8(directory).is_absolute())
      fail(BRIM_INVALID_ARGUMENT,
           "plugin folder '{}': expected an absolute path, found a relative one, which would depend on the working "
           "directory; write it out",
           directory);

  const auto refuse = [this](size_t index, uint32_t level, std::string reason) {
    Candidate& c = candidates_[index];
    log_.write(level, "loader", fmt::format("refused {}: {}", c.manifest.empty() ? c.library : c.manifest, reason));
    c.reason = std::move(reason);
  };
  std::map<std::string, size_t> taken;  // id -> candidate
  const auto take = [&](size_t index, const brim_plugin_header& header, const std::string& directory,
                        std::string reason) {
    Candidate& c = candidates_[index];
    const auto settings = config.settings.find(std::string(view(header.id)));
    auto plugin = std::make_shared<Plugin>(
        header, directory, settings == config.settings.end() ? Settings{} : settings->second, log_, team_);
    if (plugin->kind() == BRIM_KIND_BACKEND)
      backends_.push_back(std::make_shared<const Backend>(connect_backend(plugin)));
    else
      architectures_.push_back(std::make_shared<const Architecture>(connect_architecture(plugin)));
    c.id = plugin->id();
    c.kind = kind_name(plugin->kind());
    c.version = plugin->version();
    c.status = Status::kTaken;
    c.reason = std::move(reason);
    taken.emplace(c.id, index);
    log_.write(BRIM_LOG_INFO, "loader", fmt::format("took {} '{}' {} from {}", c.kind, c.id, c.version, c.library));
  };

  for (size_t i = 0; i < config.static_plugins.size(); ++i) {
    const size_t index = candidates_.size();
    candidates_.emplace_back().library = "(static)";
    try {
      const brim_plugin_header& header = shake_hands(config.static_plugins[i], {}, fmt::format("static plugin {}", i));
      candidates_[index].id = view(header.id);
      candidates_[index].kind = kind_name(header.kind);
      candidates_[index].version = view(header.version);
      if (taken.contains(candidates_[index].id))
        refuse(index, BRIM_LOG_WARNING,
               fmt::format("a static plugin with the id '{}' was taken before; list it once", candidates_[index].id));
      else
        take(index, header, "", "linked into the host program");
    } catch (...) {
      refuse(index, BRIM_LOG_WARNING, words_of_refusal());
    }
  }

  std::map<std::string, std::vector<Variant>> by_id;
  std::set<std::string> seen;
  for (const std::string& directory : config.directories) {
    std::vector<std::string> paths;
    try {
      paths = manifests_of(directory);
    } catch (...) {
      candidates_.emplace_back().manifest = directory;
      refuse(candidates_.size() - 1, BRIM_LOG_WARNING, words_of_refusal());
    }
    for (const std::string& path : paths) {
      if (!seen.insert(path).second) continue;
      const size_t index = candidates_.size();
      candidates_.emplace_back().manifest = path;
      try {
        Manifest manifest = read_manifest(path);
        Candidate& c = candidates_[index];
        c.library = manifest.library;
        c.id = manifest.id;
        c.kind = manifest.kind;
        c.version = manifest.version;
        if (std::string unmet = unmet_requirement(manifest, config.cpu_features); !unmet.empty())
          refuse(index, BRIM_LOG_DEBUG, std::move(unmet));
        else
          by_id[manifest.id].push_back({std::move(manifest), index});
      } catch (...) {
        refuse(index, BRIM_LOG_WARNING, words_of_refusal());
      }
    }
  }

  for (auto& [id, variants] : by_id) {
    // Equal ranks keep the order of folders and names.
    std::stable_sort(variants.begin(), variants.end(),
                     [](const Variant& a, const Variant& b) { return a.manifest.rank > b.manifest.rank; });
    const Variant* best = nullptr;
    for (const Variant& v : variants) {
      if (best && best->manifest.rank == v.manifest.rank) {
        refuse(v.candidate, BRIM_LOG_WARNING,
               fmt::format("'{}' and '{}' both are plugin '{}' of rank {}; the first was taken, take the other away",
                           best->manifest.path, v.manifest.path, id, v.manifest.rank));
      } else if (best) {
        refuse(v.candidate, BRIM_LOG_DEBUG,
               fmt::format("a better variant was taken: '{}' of rank {}, this one has rank {}", best->manifest.path,
                           best->manifest.rank, v.manifest.rank));
      } else if (taken.contains(id)) {
        refuse(v.candidate, BRIM_LOG_INFO,
               fmt::format("a plugin '{}' that is linked into the host program was taken instead", id));
      } else {
        try {
          const brim_plugin_header& header =
              shake_hands(open_library(v.manifest.library), {v.manifest.id, v.manifest.kind},
                          fmt::format("plugin '{}' ('{}')", v.manifest.id, v.manifest.library));
          take(v.candidate, header, to_utf8(from_utf8(v.manifest.library).parent_path()),
               variants.size() == 1
                   ? "the only candidate of its id that fits this machine"
                   : fmt::format("rank {}, the best of {} that fit this machine", v.manifest.rank, variants.size()));
          best = &v;
        } catch (...) {
          refuse(v.candidate, BRIM_LOG_WARNING, words_of_refusal());
        }
      }
    }
  }

  for (const auto& [id, settings] : config.settings)
    if (!taken.contains(id) && !settings.empty())
      log_.write(BRIM_LOG_WARNING, "loader",
                 fmt::format("there are settings for plugin '{}', which was not taken", id));
  const auto by_plugin = [](const auto& a, const auto& b) { return a->plugin->id() < b->plugin->id(); };
  std::sort(backends_.begin(), backends_.end(), by_plugin);
  std::sort(architectures_.begin(), architectures_.end(), by_plugin);
}

}  // namespace brim::loader
