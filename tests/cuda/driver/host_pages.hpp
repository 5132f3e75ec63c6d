// The process's own memory as a device sees it that goes through the host's page tables: every page that the process
// may read, as the system lists them; and, for a device that does not keep up with the host, what was there when it
// first looked.
#pragma once

#include <map>
#include <vector>

#include "ptx/machine.hpp"

namespace test_cuda {

class HostPages : public ptx::HostMemory {
 public:
  // Before each use, as mappings come and go.
  void begin(bool stale) {
    stale_ = stale;
    mappings_.clear();
  }
  void forget() { copies_.clear(); }

  std::byte* at(uint64_t address, uint64_t bytes, bool writes) override;

 private:
  struct Mapping {
    uint64_t begin, end;
    bool writable;
  };
  const Mapping* find(uint64_t address);

  bool stale_ = false;
  std::vector<Mapping> mappings_;                      // by address
  std::map<uint64_t, std::vector<std::byte>> copies_;  // by page
};

}  // namespace test_cuda
