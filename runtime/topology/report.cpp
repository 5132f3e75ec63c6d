#include <fmt/format.h>

#include <base/os/hardware.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <topology/report.hpp>

namespace brim::topology {

std::string_view source_name(Source source) {
  switch (source) {
    case Source::kPrior:
      return "prior";
    case Source::kReported:
      return "reported";
    case Source::kDescribed:
      return "described";
    case Source::kProbe:
      return "probe";
    default:
      return "unknown";
  }
}

namespace {

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

// A name where there is one, else null.
void member_or_null(Json& json, std::string_view name, bool present, const auto& value) {
  json.key(name);
  present ? json.value(value) : json.value(nullptr);
}

void write_heap(Json& json, const Heap& heap) {
  json.object([&] {
    json.member("pool", heap.pool);
    json.key("flags").array([&] {
      for (const auto& [bit, name] : {std::pair{BRIM_HEAP_DEVICE_LOCAL, "device_local"},
                                      {BRIM_HEAP_HOST_VISIBLE, "host_visible"},
                                      {BRIM_HEAP_HOST_COHERENT, "host_coherent"},
                                      {BRIM_HEAP_HOST_CACHED, "host_cached"},
                                      {BRIM_HEAP_PAGEABLE, "pageable"},
                                      {BRIM_HEAP_IMPORT_HOST, "import_host"}})
        if (heap.info.flags & bit) json.value(name);
    });
    json.member("bytes", heap.info.size).member("available", heap.available);
    json.member("alignment", heap.info.alignment).member("max_alloc", heap.info.max_alloc);
    json.member("read_bandwidth", heap.info.read_bandwidth).member("write_bandwidth", heap.info.write_bandwidth);
  });
}

void write_device(Json& json, const Device& device, uint32_t own) {
  const brim_device_info& info = device.info;
  json.object([&] {
    json.member("plugin", device.plugin()).member("index", device.index).member("name", device.name);
    json.member("type", type_name(info.type)).member("live", device.live).member("driver", device.driver);
    json.member("architecture", device.architecture).member("numa_node", info.numa_node);
    member_or_null(json, "uuid", info.uuid[0] || info.uuid[1], hex(info.uuid));
    member_or_null(json, "pci", info.pci != 0, pci_text(info.pci));
    member_or_null(json, "same_as", device.physical != own, device.physical);
    json.member("same_because", device.same_because);
    json.member("class", class_name(device.memory_class)).member("class_because", device.class_because);
    json.member("described", device.described).member("assumed", device.assumed);
    json.key("heaps").array([&] {
      for (const Heap& heap : device.heaps) write_heap(json, heap);
    });
  });
}

void write_reading(Json& json, const Reading& r) {
  json.object([&] {
    json.member("kind", reading_name(r.kind)).member("name", r.name).member("bytes", r.bytes).member("of", r.of);
    json.member("bounds", r.bounds).member("note", r.note);
  });
}

void write_candidates(Json& json, const loader::Loader& loader, bool taken) {
  for (const loader::Candidate& c : loader.candidates()) {
    if ((c.status == loader::Status::kTaken) != taken) continue;
    json.object([&] {
      json.member("id", c.id).member("kind", c.kind).member("version", c.version);
      json.member("manifest", c.manifest).member("library", c.library).member("reason", c.reason);
    });
  }
}

}  // namespace

void report(Json& json, const loader::Loader& loader, const Topology& topology) {
  json.key("plugins").array([&] { write_candidates(json, loader, true); });
  json.key("devices").array([&] {
    for (uint32_t i = 0; i < topology.devices.size(); ++i) write_device(json, topology.devices[i], i);
  });
  json.key("pools").array([&] {
    for (const Pool& p : topology.pools) {
      const uint64_t id[2] = {p.id[0], p.id[1]};
      json.object([&] {
        json.member("id", hex(id)).member("name", p.name).member("bytes", p.bytes).member("available", p.available);
        json.member("read_bandwidth", p.read_bandwidth).member("limited_by", p.limited_by);
        json.member("class", class_name(p.rules)).member("budget", p.budget).member("reserve", p.reserve);
        json.member("floor", p.floor).member("nominal_bandwidth", p.nominal_bandwidth);
        json.member("bandwidth_from", source_name(p.bandwidth_from));
        member_or_null(json, "binding", p.binding != kNoReading, p.binding);
        json.key("readings").array([&] {
          for (const Reading& r : p.readings) write_reading(json, r);
        });
      });
    }
  });
  json.key("links").array([&] {
    for (const Link& l : topology.links) {
      json.object([&] {
        json.member("device", l.device).member("pool", l.pool).member("coherent", edge_name(l.edge.coherent));
        json.member("noncoherent", edge_name(l.edge.noncoherent)).member("bandwidth", l.bandwidth);
        json.member("latency_ns", l.latency_ns).member("bandwidth_from", source_name(l.from));
        json.member("host_coherent", l.coherent);
      });
    }
  });
  json.member("described_by", topology.described_by);
  const auto pressure = topology.described_by.empty() ? os::memory_pressure() : std::nullopt;
  json.key("memory_pressure");
  if (pressure) {
    json.object([&] { json.member("some", pressure->some).member("all", pressure->all); });
  } else {
    json.value(nullptr);
  }
  json.key("refused").array([&] {
    write_candidates(json, loader, false);
    for (const Refusal& r : topology.refusals) {
      json.object([&] { json.member("id", r.who).member("reason", r.reason); });
    }
  });
}

}  // namespace brim::topology
