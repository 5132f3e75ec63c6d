// Finds the plugins of one runtime, chooses among them, opens them and keeps them. Only listed folders are looked into,
// never the working directory or PATH. Of each folder every *.toml is a manifest (manifest.hpp); manifests of one id
// are variants of one plugin, and the one of the highest rank whose system, processor and CPU features fit is taken,
// without running code of the others. Where it fails to open, the next best is tried. Every candidate is kept with what
// became of it and why; a bad one never stops the others.
#pragma once

#include <base/log.hpp>
#include <base/team.hpp>
#include <loader/plugin.hpp>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace brim::loader {

struct Config {
  std::vector<std::string> directories;              // absolute; a folder named earlier wins among equals
  std::vector<brim_plugin_query_fn> static_plugins;  // linked into the host program; they win over folders
  std::map<std::string, Settings> settings;          // by plugin id
  std::vector<std::string> cpu_features;             // of this CPU: detect_cpu_features()
  Log log;
  std::shared_ptr<Team> team;  // not null
};

enum class Status { kTaken, kRefused };

struct Candidate {
  std::string manifest;  // path; empty for a static plugin
  std::string library;   // path; "(static)" for a static plugin, empty where the manifest could not be read
  std::string id, kind, version;
  Status status = Status::kRefused;
  std::string reason;  // a sentence, also for what was taken
};

class Loader {
 public:
  // [control] Scans, opens and makes an instance of every plugin taken. Throws INVALID_ARGUMENT for a relative folder;
  // everything that is wrong with a candidate is in candidates() instead.
  explicit Loader(const Config& config);

  // Every candidate met: static ones first, then in order of folders and paths.
  const std::vector<Candidate>& candidates() const { return candidates_; }
  // What was taken, in order of id.
  const std::vector<std::shared_ptr<const Backend>>& backends() const { return backends_; }
  const std::vector<std::shared_ptr<const Architecture>>& architectures() const { return architectures_; }
  const std::shared_ptr<Team>& team() const { return team_; }
  const Log& log() const { return log_; }

 private:
  std::vector<Candidate> candidates_;
  std::vector<std::shared_ptr<const Backend>> backends_;
  std::vector<std::shared_ptr<const Architecture>> architectures_;
  std::shared_ptr<Team> team_;
  Log log_;
};

}  // namespace brim::loader
