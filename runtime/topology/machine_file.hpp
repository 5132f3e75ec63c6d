// A machine as a TOML file (sdk/docs/machines.md): what detection would find there, so that plans can be made for a
// machine that is not here. Every number that is a size may be a count of bytes or a text with its unit ("24 GiB",
// "1008 GB/s"). Reading checks everything; it asks no backend.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <topology/budget.hpp>
#include <topology/memory_class.hpp>
#include <vector>

namespace brim::topology {

struct Topology;

struct MachineFile {
  struct Pool {
    std::string id, name;
    uint64_t bytes = 0;
    uint64_t nominal_bandwidth = 0, read_bandwidth = 0;  // bytes/s by the data sheet, as measured; 0 unknown
    std::vector<Reading> readings;
  };
  // A device's way to a pool that is not its own.
  struct Link {
    uint32_t pool = 0;                       // index in pools
    uint64_t bandwidth = 0, latency_ns = 0;  // 0 unknown
    bool coherent = false;
  };
  struct Device {
    std::string name, architecture, driver;
    std::string backend;  // id of the plugin that is asked for it first; empty: any
    uint32_t pool = 0;    // index in pools: what it computes from
    Facts facts;
    uint64_t bandwidth = 0;       // at which its kernels read their own pool, bytes/s, as measured; 0 unknown
    uint64_t max_allocation = 0;  // the largest buffer; 0: as large as the pool
    double flops = 0;             // of dense prefill; 0 unknown
    uint64_t uuid[2] = {};
    uint64_t pci = 0;
    std::map<std::string, std::string> settings;  // handed to the backend as they are
    std::vector<Link> links;
  };

  std::string name;
  bool windows = false;
  std::vector<Pool> pools;  // the first is the system's memory
  std::vector<Device> devices;
};

// DATA_CORRUPT names `source`, line and key, and what would be right.
MachineFile parse_machine(std::string_view toml, const std::string& source);

// The file itself where `file_or_name` ends with ".toml" or holds a slash; else NAME.toml of the first of `folders`
// that has one. NOT_FOUND lists the names that there are.
MachineFile open_machine(const std::string& file_or_name, const std::vector<std::string>& folders);

// "cpu", "integrated", "discrete", "accelerator": BRIM_DEVICE_* as files and descriptions have it.
std::string_view type_name(uint32_t type);

// The same machine as a file that parse_machine reads.
std::string write_machine(const Topology& topology, std::string_view name);

}  // namespace brim::topology
