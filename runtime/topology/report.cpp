#include <fmt/format.h>

#include <string>
#include <string_view>
#include <topology/report.hpp>

namespace brim::topology {
namespace {

using nlohmann::json;

std::string hex(const uint64_t (&id)[2]) { return fmt::format("{:016x}{:016x}", id[0], id[1]); }

std::string_view type_name(uint32_t type) {
  switch (type) {
    case BRIM_DEVICE_CPU:
      return "cpu";
    case BRIM_DEVICE_INTEGRATED:
      return "integrated gpu";
    case BRIM_DEVICE_DISCRETE:
      return "discrete gpu";
    case BRIM_DEVICE_ACCELERATOR:
      return "accelerator";
    default:
      return "unknown";
  }
}

std::string_view edge_name(uint32_t edge) {
  switch (edge) {
    case BRIM_EDGE_COPY:
      return "copy";
    case BRIM_EDGE_IMPORT:
      return "import";
    case BRIM_EDGE_NATIVE:
      return "native";
    default:
      return "none";
  }
}

json device_json(const Device& device, uint32_t own) {
  const brim_device_info& info = device.info;
  json heaps = json::array();
  for (const Heap& heap : device.heaps) {
    json flags = json::array();
    for (const auto& [bit, name] : {std::pair{BRIM_HEAP_DEVICE_LOCAL, "device_local"},
                                    {BRIM_HEAP_HOST_VISIBLE, "host_visible"},
                                    {BRIM_HEAP_HOST_COHERENT, "host_coherent"},
                                    {BRIM_HEAP_HOST_CACHED, "host_cached"},
                                    {BRIM_HEAP_PAGEABLE, "pageable"},
                                    {BRIM_HEAP_IMPORT_HOST, "import_host"}})
      if (heap.info.flags & bit) flags.push_back(name);
    heaps.push_back({{"pool", heap.pool},
                     {"flags", std::move(flags)},
                     {"bytes", heap.info.size},
                     {"available", heap.available},
                     {"alignment", heap.info.alignment},
                     {"max_alloc", heap.info.max_alloc},
                     {"read_bandwidth", heap.info.read_bandwidth},
                     {"write_bandwidth", heap.info.write_bandwidth}});
  }
  json out = {{"plugin", device.plugin()},           {"index", device.index},       {"name", device.name},
              {"type", type_name(info.type)},        {"live", device.live},         {"driver", device.driver},
              {"architecture", device.architecture}, {"numa_node", info.numa_node}, {"heaps", std::move(heaps)}};
  out["uuid"] = info.uuid[0] || info.uuid[1] ? json(hex(info.uuid)) : json(nullptr);
  out["pci"] = info.pci ? json(fmt::format("{:04x}:{:02x}:{:02x}.{:x}", info.pci >> 32, info.pci >> 16 & 0xff,
                                           info.pci >> 8 & 0xff, info.pci & 0xff))
                        : json(nullptr);
  out["same_as"] = device.physical == own ? json(nullptr) : json(device.physical);
  return out;
}

}  // namespace

json report(const loader::Loader& loader, const Topology& topology) {
  json plugins = json::array(), refused = json::array();
  for (const loader::Candidate& c : loader.candidates()) {
    const json entry = {{"id", c.id},           {"kind", c.kind},    {"version", c.version}, {"manifest", c.manifest},
                        {"library", c.library}, {"reason", c.reason}};
    (c.status == loader::Status::kTaken ? plugins : refused).push_back(entry);
  }
  for (const Refusal& r : topology.refusals) refused.push_back({{"id", r.who}, {"reason", r.reason}});
  json devices = json::array(), pools = json::array(), links = json::array();
  for (uint32_t i = 0; i < topology.devices.size(); ++i) devices.push_back(device_json(topology.devices[i], i));
  for (const Pool& p : topology.pools) {
    const uint64_t id[2] = {p.id[0], p.id[1]};
    pools.push_back({{"id", hex(id)},
                     {"name", p.name},
                     {"bytes", p.bytes},
                     {"available", p.available},
                     {"read_bandwidth", p.read_bandwidth},
                     {"limited_by", p.limited_by}});
  }
  for (const Link& l : topology.links)
    links.push_back({{"device", l.device},
                     {"pool", l.pool},
                     {"coherent", edge_name(l.edge.coherent)},
                     {"noncoherent", edge_name(l.edge.noncoherent)},
                     {"bandwidth", l.edge.bandwidth},
                     {"latency_ns", l.edge.latency_ns}});
  return {{"plugins", std::move(plugins)},
          {"devices", std::move(devices)},
          {"pools", std::move(pools)},
          {"links", std::move(links)},
          {"refused", std::move(refused)}};
}

}  // namespace brim::topology
