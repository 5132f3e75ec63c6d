// brim_runtime_*: puts a machine together from what the host says, the configuration says, and nobody says.
#include <algorithm>
#include <api/guard.hpp>
#include <api/handles.hpp>
#include <base/library_path.hpp>
#include <base/team.hpp>
#include <filesystem>
#include <loader/cpu_features.hpp>
#include <loader/paths.hpp>
#include <topology/machine_file.hpp>
#include <topology/probe_cache.hpp>
#include <topology/report.hpp>

using namespace brim;
using namespace brim::api;

namespace {

uint32_t log_level_of(std::string_view name) {
  constexpr std::string_view names[] = {"trace", "debug", "info", "warning", "error"};  // BRIM_LOG_TRACE ..
  return static_cast<uint32_t>(std::ranges::find(names, name) - std::begin(names));
}

Log log_of(const brim_runtime_config& given, const config::Options& options) {
  Log log;
  log.level = given.config && given.log_level == BRIM_LOG_TRACE ? log_level_of(options.text("runtime.log_level"))
                                                                : given.log_level;
  if (given.log) {
    log.sink = [call = given.log, user = given.user](uint32_t level, std::string_view source,
                                                     std::string_view message) {
      call(user, level, str(source), str(message));
    };
  }
  return log;
}

// The host's threads, or the process's team; one of its own where another number of threads is asked for than that has.
std::shared_ptr<Team> team_of(const brim_runtime_config& given, const config::Options& options) {
  if (given.team_run) {
    return std::make_shared<Team>(HostTeam{given.team_run, given.user, std::max(1u, given.team_threads)});
  }
  const uint32_t threads = given.threads ? given.threads : static_cast<uint32_t>(options.integer("runtime.threads"));
  if (threads > 4096) fail(BRIM_INVALID_ARGUMENT, "{} threads were asked for; 4096 is the most", threads);
  std::shared_ptr<Team> team = shared_team(threads);
  if (threads != 0 && team->size() != threads) team = std::make_shared<Team>(threads);
  return team;
}

// Where plugins lie when nobody says so.
std::string default_directory() {
  const std::filesystem::path folder = loader::from_utf8(own_library_path()).parent_path() / "brim" / "plugins";
  // On Windows the library lies in bin/, its plugins where every other system has them.
  const std::filesystem::path beside = folder.parent_path().parent_path().parent_path() / "lib" / "brim" / "plugins";
  std::error_code ignored;
  const bool elsewhere =
      !std::filesystem::is_directory(folder, ignored) && std::filesystem::is_directory(beside, ignored);
  return loader::to_utf8(elsewhere ? beside : folder);
}

std::vector<std::string> directories_of(const brim_runtime_config& given, const config::Options& options) {
  std::vector<std::string> directories;
  if (given.n_plugin_dirs) {
    need(given.plugin_dirs, "plugin_dirs");
    for (uint32_t i = 0; i < given.n_plugin_dirs; ++i) {
      directories.emplace_back(read_text(given.plugin_dirs[i], "plugin_dirs"));
    }
    return directories;
  }
  directories = options.folders("runtime.plugin_dirs");
  if (directories.empty()) directories.push_back(default_directory());
  return directories;
}

// Described machines lie beside the plugins.
std::vector<std::string> machine_folders(const std::vector<std::string>& plugin_directories) {
  std::vector<std::string> folders;
  const auto add = [&](std::string folder) {
    if (std::ranges::find(folders, folder) == folders.end()) folders.push_back(std::move(folder));
  };
  for (const std::string& directory : plugin_directories)
    add(loader::to_utf8(loader::from_utf8(directory).parent_path() / "machines"));
  add(loader::to_utf8(loader::from_utf8(default_directory()).parent_path() / "machines"));
  return folders;
}

std::map<std::string, loader::Settings> settings_of(const config::Options& options) {
  std::map<std::string, loader::Settings> settings;
  for (const char* kind : {"backend", "architecture"}) {
    for (const std::string& id : options.plugins_with_settings(kind)) {
      for (auto& [key, value] : options.settings(kind, id)) settings[id][key] = value;
    }
  }
  return settings;
}

std::string probe_key(const negotiator::Machine& machine) {
  return topology::probe_key(machine.topology, BRIM_VERSION, machine.loader->team()->size());
}

void require_live_device(const negotiator::Machine& machine, const loader::Config& config) {
  if (std::ranges::any_of(machine.topology.devices, &topology::Device::live)) return;
  std::string refused;
  const auto add = [&](std::string_view who, std::string_view why) { refused += fmt::format("; {}: {}", who, why); };
  for (const loader::Candidate& c : machine.loader->candidates()) {
    if (c.status == loader::Status::kRefused) add(c.id.empty() ? c.manifest : c.id, c.reason);
  }
  for (const topology::Refusal& r : machine.topology.refusals) add(r.who, r.reason);
  fail(BRIM_NOT_FOUND, "no usable backend in {}{}", fmt::join(config.directories, ", "),
       refused.empty() ? "; no plugin lies there: name the right folder by runtime.plugin_dirs" : refused);
}

}  // namespace

brim_status brim_runtime_create(const brim_runtime_config* config, brim_runtime** out, brim_error* error) {
  return guard(error, [&] {
    need(out, "out") = nullptr;
    const brim_runtime_config given = config ? read_struct(config, "brim_runtime_config") : brim_runtime_config{};
    if (given.log_level > BRIM_LOG_PLUGIN_MISUSE) fail(BRIM_UNSUPPORTED, "log level {} is not known", given.log_level);
    const config::Options options = given.config ? given.config->options : config::Options();
    loader::Config found;
    found.log = log_of(given, options);
    found.team = team_of(given, options);
    found.directories = directories_of(given, options);
    found.settings = settings_of(options);
    found.cpu_features = loader::detect_cpu_features();
    if (given.n_static_plugins) {
      need(given.static_plugins, "static_plugins");
      found.static_plugins.assign(given.static_plugins, given.static_plugins + given.n_static_plugins);
    }
    auto machine = std::make_shared<negotiator::Machine>();
    machine->loader = std::make_unique<loader::Loader>(found);
    if (const std::string& described = options.text("runtime.machine"); described.empty()) {
      machine->topology = topology::detect(*machine->loader);
      if (options.boolean("runtime.require_device")) require_live_device(*machine, found);
      if (const std::string& cache = options.text("runtime.probe_cache"); !cache.empty())
        topology::set_host_bandwidth(machine->topology, topology::kept_bandwidth(cache, probe_key(*machine)));
    } else {
      const topology::MachineFile file = topology::open_machine(described, machine_folders(found.directories));
      machine->topology = topology::describe(*machine->loader, file, described);
    }
    machine->ledger = negotiator::Ledger::of_folder(options.text("runtime.ledger"));
    if (const std::string& file = options.text("runtime.learned"); !file.empty()) {
      machine->learned = std::make_shared<negotiator::Learned>(file);
    }
    auto runtime = std::make_shared<Runtime>();
    runtime->machine = std::move(machine);
    runtime->architecture = options.text("runtime.architecture");
    runtime->probe_cache = options.text("runtime.probe_cache");
    *out = new brim_runtime{std::move(runtime)};
  });
}

brim_status brim_runtime_report(brim_runtime* handle, char* buf, uint64_t cap, uint64_t* need_bytes,
                                brim_error* error) {
  return guard(error, [&] {
    Runtime& runtime = *need(handle, "runtime").runtime;
    Json json;
    json.object([&] {
      {
        const std::lock_guard lock(runtime.mutex);
        topology::refresh(runtime.machine->topology);
        topology::report(json, *runtime.machine->loader, runtime.machine->topology);
      }
      json.key("library").object([&] {
        json.member("version", BRIM_VERSION).member("abi_major", BRIM_ABI_MAJOR).member("abi_minor", BRIM_ABI_MINOR);
        json.member("path", own_library_path()).member("threads", runtime.machine->loader->team()->size());
      });
    });
    write_text(json.text(), buf, cap, need_bytes);
  });
}

brim_status brim_runtime_machine(brim_runtime* handle, brim_str name, char* buf, uint64_t cap, uint64_t* need_bytes,
                                 brim_error* error) {
  return guard(error, [&] {
    Runtime& runtime = *need(handle, "runtime").runtime;
    const std::string_view called = read_text(name, "name");
    const std::lock_guard lock(runtime.mutex);
    topology::refresh(runtime.machine->topology);
    write_text(topology::write_machine(runtime.machine->topology, called), buf, cap, need_bytes);
  });
}

brim_status brim_runtime_bandwidth(brim_runtime* handle, double* bytes_per_second, brim_error* error) {
  return guard(error, [&] {
    need(bytes_per_second, "bytes_per_second") = 0;
    Runtime& runtime = *need(handle, "runtime").runtime;
    if (const std::string& machine = runtime.machine->topology.described_by; !machine.empty())
      fail(BRIM_FAILED_PRECONDITION, "the machine is '{}', which is described and not here to be measured", machine);
    const std::string key = probe_key(*runtime.machine);
    double measured = runtime.probe_cache.empty() ? 0 : topology::kept_bandwidth(runtime.probe_cache, key);
    if (measured <= 0) {
      measured = topology::probe_bandwidth(*runtime.machine->loader->team());
      if (!runtime.probe_cache.empty()) topology::keep_bandwidth(runtime.probe_cache, key, measured);
    }
    const std::lock_guard lock(runtime.mutex);
    topology::set_host_bandwidth(runtime.machine->topology, measured);
    *bytes_per_second = measured;
  });
}

void brim_runtime_destroy(brim_runtime* runtime) { delete runtime; }
