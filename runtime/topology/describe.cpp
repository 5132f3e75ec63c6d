// A machine's description as a topology. Each device is asked of the backend that the file names, or of any that
// describes one of its type; where none does, another backend's described device stands in, which answers how nodes are
// cut, laid out and measured, and that the real one could compute them is assumed and said.
#include <fmt/format.h>

#include <algorithm>
#include <base/error.hpp>
#include <cmath>
#include <topology/machine_file.hpp>
#include <topology/topology.hpp>

namespace brim::topology {
namespace {

struct Answer {
  std::shared_ptr<const loader::Backend> backend;
  std::unique_ptr<brim_device, CloseDevice> handle;
  std::string why;  // there is none
};

Answer ask(const std::shared_ptr<const loader::Backend>& backend, const std::map<std::string, std::string>& settings) {
  const std::string& id = backend->plugin->id();
  if (!backend->api.device_describe) return {{}, {}, fmt::format("{} describes no devices", id)};
  std::vector<brim_setting> list;
  for (const auto& [key, value] : settings) {
    brim_setting& setting = list.emplace_back();
    setting.key = str(key);
    setting.value = str(value);
  }
  brim_device* handle = nullptr;
  brim_error error = empty_error();
  const brim_status status = backend->api.device_describe(
      backend->plugin->instance(), list.data(), static_cast<uint32_t>(list.size()), sizeof(list[0]), &handle, &error);
  if (status != BRIM_OK || !handle)
    return {{}, {}, fmt::format("{} does not describe it: {}", id, words_of(status, error))};
  return {backend, {handle, CloseDevice{backend}}, {}};
}

brim_device_info info_of(const Answer& answer, const std::string& who) {
  brim_device_info info{};
  info.struct_size = sizeof(info);
  brim_error error = empty_error();
  check(answer.backend->api.device_info(answer.handle.get(), &info, &error), error, who + " does not describe itself");
  return info;
}

class Describer {
 public:
  Describer(const loader::Loader& loader, const MachineFile& file) : loader_(loader), file_(file) {}

  Topology run(std::string described_by) {
    t_.described_by = std::move(described_by);
    t_.windows = file_.windows;
    for (uint32_t i = 0; i < file_.pools.size(); ++i) {
      const MachineFile::Pool& p = file_.pools[i];
      Pool pool;
      pool.id = {i == 0 ? BRIM_POOL_SYSTEM : UINT64_MAX, i};  // the latter is no UUID that a device has
      pool.name = p.name;
      pool.readings = p.readings;
      pool.nominal_bandwidth = p.nominal_bandwidth;
      pool.read_bandwidth = p.read_bandwidth;
      if (p.read_bandwidth) pool.bandwidth_from = Source::kDescribed;
      t_.pools.push_back(std::move(pool));
    }
    for (uint32_t i = 0; i < file_.devices.size(); ++i)
      if (device(file_.devices[i])) from_.push_back(i);
    if (t_.devices.empty())
      fail(BRIM_NOT_FOUND, "no backend that is installed describes a device of {}: {}: {}", t_.described_by,
           t_.refusals[0].who, t_.refusals[0].reason);
    merge_views(t_);
    classify_devices(t_);
    for (Pool& pool : t_.pools) set_budget(pool);
    for (uint32_t d = 0; d < t_.devices.size(); ++d) links(d);
    for (Device& d : t_.devices)
      for (Heap& heap : d.heaps) heap.available = t_.pools[heap.pool].available;
    return std::move(t_);
  }

 private:
  // Adds it, or why it is left out.
  bool device(const MachineFile::Device& d) {
    const MachineFile::Pool& pool = file_.pools[d.pool];
    std::map<std::string, std::string> plain = {{"name", d.name}, {"memory", std::to_string(pool.bytes)}};
    if (d.bandwidth) plain["bandwidth"] = std::to_string(d.bandwidth);
    std::map<std::string, std::string> all = plain;
    all["type"] = type_name(d.facts.type);
    for (const auto& [key, fact] : {std::pair{"pageable_access", d.facts.pageable},
                                    {"host_page_tables", d.facts.host_page_tables},
                                    {"concurrent_managed", d.facts.concurrent_managed}}) {
      if (fact == Fact::kYes) all[key] = "true";
    }
    for (const auto& [key, value] : d.settings) all[key] = value;

    Device out;
    out.asked = d.backend;
    out.settings = d.settings;
    Answer answer;
    std::string why;
    const auto note = [&why](std::string text) { why += (why.empty() ? "" : "; ") + std::move(text); };
    for (const auto& backend : loader_.backends()) {
      if (!d.backend.empty() && backend->plugin->id() != d.backend) continue;
      answer = ask(backend, all);
      if (answer.handle && info_of(answer, d.name).type != d.facts.type) {
        answer = {};
        answer.why = fmt::format("{} describes devices of another type", backend->plugin->id());
      }
      if (answer.handle) break;
      note(answer.why);
    }
    if (!answer.handle) {
      if (why.empty()) note(fmt::format("{} is not installed", d.backend.empty() ? "a backend" : d.backend));
      for (const auto& backend : loader_.backends()) {
        answer = ask(backend, plain);
        if (answer.handle) break;
      }
      if (!answer.handle) {
        t_.refusals.push_back({d.name, fmt::format("{}, and no other backend stands in for it", why)});
        return false;
      }
      out.assumed =
          fmt::format("{}; that it can compute what {} computes is assumed", why, answer.backend->plugin->id());
    }
    out.info = info_of(answer, d.name);
    out.info.type = d.facts.type;
    out.info.flags &= ~BRIM_DEVICE_LIVE;
    std::copy_n(d.uuid, 2, out.info.uuid);
    out.info.pci = d.pci;
    out.name = d.name;
    out.driver = d.driver;
    out.architecture = d.architecture;
    out.described = true;
    out.facts = d.facts;
    out.flops = d.flops;
    for (uint32_t i = 0; i < out.info.n_heaps; ++i) {
      Heap heap;
      heap.info.struct_size = sizeof(heap.info);
      brim_error error = empty_error();
      check(answer.backend->api.heap_info(answer.handle.get(), i, &heap.info, &error), error,
            fmt::format("{} does not describe its heap {}", d.name, i));
      out.heaps.push_back(heap);
    }
    if (out.heaps.empty()) {
      t_.refusals.push_back({d.name, "its backend gives it no heap"});
      return false;
    }
    if (!out.assumed.empty()) out.heaps = stand_in_heaps(d, out.heaps.front().info.alignment);
    for (Heap& heap : out.heaps) {
      heap.pool = heap.info.pool_id[0] == BRIM_POOL_SYSTEM ? 0 : d.pool;
      std::copy_n(t_.pools[heap.pool].id.data(), 2, heap.info.pool_id);
      heap.info.size = file_.pools[heap.pool].bytes;
      if (heap.pool == d.pool) heap.info.max_alloc = d.max_allocation ? d.max_allocation : heap.info.size;
    }
    out.info.n_heaps = static_cast<uint32_t>(out.heaps.size());
    out.backend = answer.backend;
    out.handle = std::move(answer.handle);
    t_.devices.push_back(std::move(out));
    return true;
  }

  // Of a GPU that shares the system's memory one heap that both see; of a card its own and the system's.
  static std::vector<Heap> stand_in_heaps(const MachineFile::Device& d, uint64_t alignment) {
    constexpr uint32_t kHost = BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT | BRIM_HEAP_HOST_CACHED;
    std::vector<Heap> heaps(d.pool == 0 ? 1 : 2);
    for (Heap& heap : heaps) {
      heap.info.struct_size = sizeof(heap.info);
      heap.info.alignment = alignment;
      heap.info.max_alloc = UINT64_MAX;
      heap.info.flags = kHost;
      heap.info.pool_id[0] = BRIM_POOL_SYSTEM;
    }
    if (d.facts.type != BRIM_DEVICE_CPU) heaps[0].info.flags |= BRIM_HEAP_DEVICE_LOCAL;
    if (d.pool != 0) {
      heaps[0].info.flags = BRIM_HEAP_DEVICE_LOCAL;
      heaps[0].info.pool_id[0] = UINT64_MAX;
    }
    return heaps;
  }

  void links(uint32_t index) {
    const Device& device = t_.devices[index];
    const MachineFile::Device& d = file_.devices[from_[index]];
    const uint32_t own = own_pool(device);
    for (uint32_t p = 0; p < t_.pools.size(); ++p) {
      Link link;
      link.device = index;
      link.pool = p;
      link.edge.struct_size = sizeof(link.edge);
      Pool& pool = t_.pools[p];
      if (p == own) {
        link.edge.coherent = link.edge.noncoherent = BRIM_EDGE_NATIVE;
        link.coherent = true;
        link.from = Source::kDescribed;
        link.bandwidth = d.bandwidth ? d.bandwidth : pool.read_bandwidth;
        if (!link.bandwidth && pool.nominal_bandwidth) {
          link.from = Source::kPrior;
          link.bandwidth = prior_bandwidth(d.facts.type, pool.nominal_bandwidth);
        }
      } else if (const MachineFile::Link* way = way_between(d, p)) {
        link.edge.coherent = link.edge.noncoherent = way->coherent ? BRIM_EDGE_NATIVE : BRIM_EDGE_COPY;
        link.bandwidth = way->bandwidth;
        link.latency_ns = way->latency_ns;
        link.coherent = way->coherent;
        link.from = Source::kDescribed;
      } else {
        link.edge.coherent = link.edge.noncoherent = BRIM_EDGE_COPY;
      }
      if (!link.bandwidth) link.from = Source::kUnknown;
      link.edge.bandwidth = link.bandwidth;
      link.edge.latency_ns = link.latency_ns;
      t_.links.push_back(link);
    }
  }

  // The link of the device to that pool, or of a device of that pool to this one's.
  const MachineFile::Link* way_between(const MachineFile::Device& d, uint32_t pool) const {
    for (const MachineFile::Link& l : d.links)
      if (l.pool == pool) return &l;
    for (const MachineFile::Device& other : file_.devices)
      if (other.pool == pool)
        for (const MachineFile::Link& l : other.links)
          if (l.pool == d.pool) return &l;
    return nullptr;
  }

  const loader::Loader& loader_;
  const MachineFile& file_;
  Topology t_;
  std::vector<uint32_t> from_;  // of each device of t_ the file's
};

}  // namespace

Topology describe(const loader::Loader& loader, const MachineFile& file, std::string described_by) {
  return Describer(loader, file).run(std::move(described_by));
}

}  // namespace brim::topology
