// A topology as the file that describes it. Readings are written as they were taken, so that the other machine's plans
// see what this one saw.
#include <fmt/format.h>

#include <topology/machine_file.hpp>
#include <topology/topology.hpp>

namespace brim::topology {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20 || u == 0x7f) {
      out += fmt::format("\\u{:04x}", u);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string pool_id(uint32_t index) { return index == 0 ? "system" : fmt::format("pool-{}", index); }

class Writer {
 public:
  explicit Writer(const Topology& topology) : t_(topology) {}

  std::string write(std::string_view name) {
    text("name", name, true);
    text("os", t_.windows ? "windows" : "linux", true);
    for (uint32_t p = 0; p < t_.pools.size(); ++p) pool(p);
    for (uint32_t d = 0; d < t_.devices.size(); ++d) device(d);
    return std::move(out_);
  }

 private:
  void text(std::string_view key, std::string_view value, bool always = false) {
    if (always || !value.empty()) out_ += fmt::format("{} = {}\n", key, quoted(value));
  }
  void number(std::string_view key, uint64_t value, bool always = false) {
    if (always || value) out_ += fmt::format("{} = {}\n", key, value);
  }
  void fact(std::string_view key, Fact value) {
    if (value != Fact::kNotSaid) out_ += fmt::format("{} = {}\n", key, value == Fact::kYes);
  }

  void pool(uint32_t index) {
    const Pool& p = t_.pools[index];
    out_ += "\n[[pool]]\n";
    text("id", pool_id(index));
    text("name", p.name);
    number("bytes", p.bytes);
    number("nominal_bandwidth", p.nominal_bandwidth);
    number("read_bandwidth", p.read_bandwidth);
    for (const Reading& r : p.readings) {
      out_ += "\n[[pool.reading]]\n";
      text("kind", reading_name(r.kind));
      text("name", r.name);
      number("bytes", r.bytes, true);
      number("of", r.of);
      number("view", r.view);
    }
  }

  void device(uint32_t index) {
    const Device& d = t_.devices[index];
    const uint32_t own = own_pool(d);
    out_ += "\n[[device]]\n";
    text("name", d.name, true);
    text("type", type_name(d.info.type));
    text("architecture", d.architecture);
    text("driver", d.driver);
    text("backend", d.asked.empty() ? d.plugin() : d.asked);
    text("pool", pool_id(own));
    if (d.facts.software) out_ += "software = true\n";
    fact("pageable_access", d.facts.pageable);
    fact("host_page_tables", d.facts.host_page_tables);
    fact("concurrent_managed", d.facts.concurrent_managed);
    if (const Link& link = t_.link(index, own); link.from > Source::kPrior) number("bandwidth", link.bandwidth);
    if (d.flops > 0) out_ += fmt::format("flops = {:.0f}\n", d.flops);
    for (const Heap& heap : d.heaps) {
      if (heap.pool != own) continue;
      if (heap.info.max_alloc < t_.pools[own].bytes) number("max_allocation", heap.info.max_alloc);
      break;
    }
    if (d.info.uuid[0] || d.info.uuid[1]) text("uuid", fmt::format("{:016x}{:016x}", d.info.uuid[0], d.info.uuid[1]));
    if (d.info.pci) text("pci", pci_text(d.info.pci));
    if (!d.settings.empty()) {
      out_ += "\n[device.settings]\n";
      for (const auto& [key, value] : d.settings) out_ += fmt::format("{} = {}\n", quoted(key), quoted(value));
    }
    for (uint32_t p = 0; p < t_.pools.size(); ++p) {
      const Link& link = t_.link(index, p);
      if (p == own || link.edge.noncoherent == BRIM_EDGE_NONE) continue;
      out_ += "\n[[device.link]]\n";
      text("pool", pool_id(p));
      number("bandwidth", link.bandwidth);
      number("latency_ns", link.latency_ns);
      if (link.coherent) out_ += "coherent = true\n";
    }
  }

  const Topology& t_;
  std::string out_;
};

}  // namespace

std::string_view type_name(uint32_t type) {
  switch (type) {
    case BRIM_DEVICE_CPU:
      return "cpu";
    case BRIM_DEVICE_INTEGRATED:
      return "integrated";
    case BRIM_DEVICE_DISCRETE:
      return "discrete";
    default:
      return "accelerator";
  }
}

std::string write_machine(const Topology& topology, std::string_view name) { return Writer(topology).write(name); }

}  // namespace brim::topology
