// A live plugin instance and typed access to what it offers. Each instance has a host context of its own, through which
// it allocates, logs and runs on the team; bytes that it has not given back when it is destroyed are reported to the
// log as a misuse with its id. Interfaces are copied, as far as the plugin sent them, into zeroed structs of this
// host's size: a slot that the plugin does not have is NULL, whichever of the two is older.
#pragma once

#include <brim/architecture.h>
#include <brim/backend.h>
#include <brim/plugin.h>

#include <base/log.hpp>
#include <base/team.hpp>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace brim::loader {

// Settings of one plugin, key to value, as the configuration has them.
using Settings = std::map<std::string, std::string>;

class Plugin {
 public:
  // [control] `header` has been checked (handshake.hpp) and lives for ever. `directory`: where the library lies. Throws
  // what the plugin's create() reports, with its id in front.
  Plugin(const brim_plugin_header& header, std::string directory, const Settings& settings, Log log,
         std::shared_ptr<Team> team);
  ~Plugin();
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  const std::string& id() const { return id_; }
  const std::string& version() const { return version_; }
  const std::string& license() const { return license_; }
  const std::string& directory() const { return directory_; }
  uint32_t kind() const { return header_.kind; }    // BRIM_KIND_*
  uint32_t minor() const { return header_.minor; }  // the ABI minor that it was built against
  brim_plugin* instance() const { return instance_; }

  // [any] What the instance answers for that name; NULL if it has no such interface.
  const void* get_interface(std::string_view name) const;
  // [any] Bytes and blocks that it holds from the host just now.
  uint64_t host_bytes() const;
  uint64_t host_blocks() const;

 private:
  std::string id_, version_, license_, directory_;
  brim_plugin_header header_{};
  std::unique_ptr<brim_host> host_;
  brim_plugin* instance_ = nullptr;
};

// A backend: `api` with every required slot set, `caps` copied out of their stride.
struct Backend {
  std::shared_ptr<Plugin> plugin;
  brim_backend api{};
  std::vector<brim_op_caps> caps;
};

struct Architecture {
  std::shared_ptr<Plugin> plugin;
  brim_architecture api{};
};

// Throw INCOMPATIBLE naming the interface or the slot that is missing.
Backend connect_backend(std::shared_ptr<Plugin> plugin);
Architecture connect_architecture(std::shared_ptr<Plugin> plugin);

}  // namespace brim::loader
