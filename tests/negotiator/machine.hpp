// This machine with the plugins of the build tree, from within.
#pragma once

#include <loader/cpu_features.hpp>
#include <negotiator/open_model.hpp>

namespace brim::test {

inline std::shared_ptr<negotiator::Machine> machine() {
  loader::Config config;
  config.directories = {BRIM_BINARY_DIR "/lib/brim/plugins"};
  config.cpu_features = loader::detect_cpu_features();
  config.team = shared_team(1);
  auto machine = std::make_shared<negotiator::Machine>();
  machine->loader = std::make_unique<loader::Loader>(config);
  machine->topology = topology::detect(*machine->loader);
  return machine;
}

}  // namespace brim::test
