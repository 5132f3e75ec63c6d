#include <algorithm>
#include <base/error.hpp>
#include <negotiator/chain.hpp>
#include <negotiator/solver.hpp>
#include <negotiator/stages.hpp>

namespace brim::negotiator {
namespace {

// The solver tries all orders of devices: so many take part.
constexpr size_t kMostDevices = 4;
// What an activation's way from one device to another costs besides its bytes, and experts that are computed apart.
constexpr double kCrossing = 30e-6, kExpertsApart = 170e-6;

// Tokens of a prompt and of its answer.
struct MixTokens {
  double prompt, answer;
};
MixTokens tokens_of(Mix mix) {
  switch (mix) {
    case Mix::kAgent:
      return {16384, 1024};
    case Mix::kBatch:
      return {2048, 256};
    default:
      return {512, 256};
  }
}

// For choosing between devices of which nothing is known; never shown.
double usual_bandwidth(uint32_t type) {
  return type == BRIM_DEVICE_CPU ? 40e9 : type == BRIM_DEVICE_INTEGRATED ? 80e9 : 400e9;
}

Constants constants_for_choice(const OpenModel& model, uint32_t device) {
  const Constants known = constants_of(model, device);
  if (known.bandwidth > 0) return known;
  const uint32_t type = model.machine->topology.devices[device].info.type;
  return prior_constants(type == BRIM_DEVICE_CPU ? SpeedKind::kCpu : SpeedKind::kVulkan, usual_bandwidth(type));
}

uint32_t pool_of(const topology::Topology& t, uint32_t device) {
  const auto& heaps = t.devices[device].heaps;
  const auto local = std::find_if(heaps.begin(), heaps.end(),
                                  [](const auto& h) { return (h.info.flags & BRIM_HEAP_DEVICE_LOCAL) != 0; });
  return local == heaps.end() ? heaps.front().pool : local->pool;
}

// Seconds of one conversation's share of an item.
double seconds_of_mix(const Plan& plan, const Constants& c, const Work& work) {
  const MixTokens tokens = tokens_of(plan.request.mix);
  const double depth = std::min<double>(tokens.prompt + tokens.answer / 2, plan.request.n_ctx);
  return prefill_seconds(c, work, tokens.prompt, plan.request.n_batch) + tokens.answer * decode_seconds(c, work, depth);
}

Chain chain_of(const Plan& plan, const std::vector<uint32_t>& devices) {
  const auto& topology = plan.model->machine->topology;
  const Request& r = plan.request;
  const MixTokens tokens = tokens_of(r.mix);
  Chain chain;
  std::vector<Constants> constants;
  for (uint32_t d = 0; d < devices.size(); ++d) {
    constants.push_back(constants_for_choice(*plan.model, devices[d]));
    chain.pool.push_back(pool_of(topology, devices[d]));
    chain.base.push_back(0);  // what the devices' programs take comes as a correction of their pools
    // One token at a time in decoding, a batch in prefill.
    const double crossings = tokens.answer + std::max(1.0, tokens.prompt / r.n_batch);
    chain.crossing.emplace_back(devices.size(), crossings * kCrossing);
    if (topology.devices[devices[d]].info.type == BRIM_DEVICE_CPU) chain.home = d;
  }
  for (uint32_t p = 0; p < topology.pools.size(); ++p) {
    const uint64_t room = room_of(plan, p);
    const int64_t correction = p < plan.correction.size() ? plan.correction[p] : 0;
    chain.room.push_back(correction > 0 && static_cast<uint64_t>(correction) > room ? 0 : room - correction);
  }
  for (const ItemWork& item : plan.works) {
    ChainItem c;
    const uint64_t kv = static_cast<uint64_t>(item.work.kv_per_token * static_cast<double>(r.kv_tokens) +
                                              item.work.kv_fixed * r.n_seqs);
    c.expert_bytes = chain.home == kNoDevice ? 0 : item.expert_resident;
    Work rest = item.work;
    rest.bytes -= item.experts.bytes;
    rest.all_bytes -= item.experts.all_bytes;
    rest.flops -= item.experts.flops;
    for (const Constants& of : constants) {
      c.bytes.push_back(item.resident + kv);
      c.seconds.push_back(seconds_of_mix(plan, of, item.work));
      const double at_home = chain.home == kNoDevice ? 0 : seconds_of_mix(plan, constants[chain.home], item.experts);
      c.apart_seconds.push_back(seconds_of_mix(plan, of, rest) + at_home + tokens.answer * kExpertsApart);
    }
    chain.items.push_back(std::move(c));
  }
  return chain;
}

// The chain as if only these of its devices were there.
ChainPlan all_on(const Chain& chain, uint32_t device) {
  ChainPlan plan;
  plan.device.assign(chain.items.size(), device);
  plan.apart.assign(chain.items.size(), false);
  plan.seconds = seconds_of(chain, plan.device, plan.apart);
  return plan;
}

void take(Plan& plan, const std::vector<uint32_t>& devices, const ChainPlan& chosen, uint32_t home) {
  plan.item_device.clear();
  for (const uint32_t d : chosen.device) plan.item_device.push_back(devices[d]);
  plan.apart = chosen.apart;
  plan.home = home == kNoDevice ? 0 : devices[home];
}

// CUDA's classes are told apart by its attributes; another interface says no more than whose memory it is.
SpeedKind speed_kind(topology::Class c) {
  using topology::Class;
  switch (c) {
    case Class::kCpu:
    case Class::kSoftware:
      return SpeedKind::kCpu;
    case Class::kAtsUma:
    case Class::kWindowsUma:
    case Class::kTegraUma:
    case Class::kAtsNuma:
    case Class::kDiscreteHmm:
    case Class::kDiscreteManaged:
    case Class::kDiscreteLimited:
      return SpeedKind::kCuda;
    default:
      return SpeedKind::kVulkan;
  }
}

Learned::Key key_of(const OpenModel& model, uint32_t device) {
  const topology::Device& d = model.machine->topology.devices[device];
  return {d.name, fmt::format("{}; {} {}", d.driver, d.plugin(), d.backend->plugin->version()), model.file.type_name()};
}

// Of more devices than can take part, the processors and of the others those with the most room, in the order they
// came in.
std::vector<uint32_t> roomiest(const Plan& plan, const std::vector<uint32_t>& usable) {
  const topology::Topology& t = plan.model->machine->topology;
  const auto rank = [&](uint32_t device) {
    const bool processors = t.devices[device].info.type == BRIM_DEVICE_CPU;
    return std::pair(processors, room_of(plan, pool_of(t, device)));
  };
  std::vector<uint32_t> kept = usable;
  while (kept.size() > kMostDevices) {
    kept.erase(std::min_element(kept.begin(), kept.end(), [&](uint32_t a, uint32_t b) { return rank(a) < rank(b); }));
  }
  return kept;
}

}  // namespace

Constants constants_of(const OpenModel& model, uint32_t device) {
  const topology::Topology& t = model.machine->topology;
  const topology::Device& d = t.devices[device];
  const uint32_t index = pool_of(t, device);
  const topology::Pool& pool = t.pools[index];
  const topology::Link& link = t.link(device, index);
  const SpeedKind kind = speed_kind(d.memory_class);
  Constants c;
  const bool measured = link.from == topology::Source::kProbe || link.from == topology::Source::kDescribed;
  if (measured && link.bandwidth) {
    c = probed_constants(kind, static_cast<double>(link.bandwidth));
  } else if (pool.bandwidth_from == topology::Source::kProbe && kind == SpeedKind::kCpu) {
    c = probed_constants(kind, static_cast<double>(pool.read_bandwidth));
  } else if (pool.nominal_bandwidth) {
    c = prior_constants(kind, static_cast<double>(pool.nominal_bandwidth));
  } else if (pool.read_bandwidth) {
    c = prior_constants(kind, static_cast<double>(pool.read_bandwidth));
  }
  if (d.flops > 0) c.compute = d.flops;
  if (const auto& learned = model.machine->learned; learned && !d.described) {
    if (const double seen = learned->bandwidth(key_of(model, device)); seen > 0) {
      if (c.bandwidth <= 0) c = prior_constants(kind, seen);
      c.bandwidth = seen;
      c.provenance = Provenance::kLearned;
    }
  }
  return c;
}

void learn(const Plan& plan, double seconds, double depth) {
  const auto& learned = plan.model->machine->learned;
  const auto& d = plan.item_device;
  if (!learned || std::any_of(d.begin(), d.end(), [&](uint32_t device) { return device != d.front(); })) return;
  Constants c = constants_of(*plan.model, d.front());
  if (c.bandwidth <= 0) c = constants_for_choice(*plan.model, d.front());
  Work all;
  for (const ItemWork& item : plan.works) all += item.work;
  // What the layers and the KV do not account for is the weights'.
  const double layers = std::min(c.layer * all.layers, seconds / 2);
  const double read = all.bytes + kKvFactor * all.kv_per_token * depth;
  learned->observe(key_of(*plan.model, d.front()), read / (seconds - layers));
}

void choose_devices(Plan& plan, const std::vector<uint32_t>& usable) {
  const auto& topology = plan.model->machine->topology;
  const std::vector<uint32_t> devices = roomiest(plan, usable);
  const auto name = [&](uint32_t d) { return topology.devices[devices[d]].name; };
  for (const uint32_t device : usable) {
    if (std::find(devices.begin(), devices.end(), device) != devices.end()) continue;
    plan.decisions.push_back(
        {"left out", topology.devices[device].name,
         fmt::format("at most {} devices share a model, and others have more room", kMostDevices)});
  }
  const Chain chain = chain_of(plan, devices);
  const auto best = solve(chain);
  if (!best) {
    // Nothing fits: the roomiest device's refusal has the numbers that help.
    uint32_t roomiest = 0;
    for (uint32_t d = 1; d < devices.size(); ++d) {
      if (chain.room[chain.pool[d]] > chain.room[chain.pool[roomiest]]) roomiest = d;
    }
    take(plan, devices, all_on(chain, roomiest), kNoDevice);
    return;
  }
  take(plan, devices, *best, chain.home);
  plan.estimated.assign(chain.room.size(), 0);
  for (size_t i = 0; i < chain.items.size(); ++i) {
    const uint32_t d = best->device[i];
    const uint64_t gone = best->apart[i] ? chain.items[i].expert_bytes : 0;
    plan.estimated[chain.pool[d]] += chain.items[i].bytes[d] - gone;
    if (gone) plan.estimated[chain.pool[chain.home]] += gone;
  }

  // What the other ways would have given, the best of them first.
  const bool known = std::all_of(devices.begin(), devices.end(),
                                 [&](uint32_t d) { return constants_of(*plan.model, d).bandwidth > 0; });
  std::vector<std::pair<double, Rejected>> others;
  for (uint32_t d = 0; d < devices.size(); ++d) {
    const ChainPlan alone = all_on(chain, d);
    if (alone.device == best->device && alone.apart == best->apart) continue;
    Rejected r{fmt::format("everything on {}", name(d)), {}, 0};
    if (alone.seconds == kNever) {
      uint64_t wanted = 0;
      for (const ChainItem& item : chain.items) wanted += item.bytes[d];
      r.because = fmt::format("does not fit: {} for weights and KV alone, {} can be used of {}", bytes_text(wanted),
                              bytes_text(chain.room[chain.pool[d]]), topology.pools[chain.pool[d]].name);
    } else if (known) {
      r.relative = alone.seconds / best->seconds;
      r.because = fmt::format("slower: it would take {:.2f} times as long", r.relative);
    } else {
      r.because = fmt::format("{} is expected to be slower", name(d));
    }
    others.emplace_back(alone.seconds, std::move(r));
  }
  std::stable_sort(others.begin(), others.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [seconds, r] : others) plan.rejected.push_back(std::move(r));
}

Prediction predict(const Plan& plan) {
  Prediction p;
  const MixTokens tokens = tokens_of(plan.request.mix);
  double empty = 0, full = 0, prefill = 0;
  bool mixture = false;
  for (size_t i = 0; i < plan.works.size(); ++i) {
    const ItemWork& item = plan.works[i];
    Work here = item.work;
    if (plan.apart[i]) {
      const Constants home = constants_of(*plan.model, plan.home);
      if (home.bandwidth <= 0) return {};
      p.provenance = std::min(p.provenance, home.provenance);
      here.bytes -= item.experts.bytes;
      here.all_bytes -= item.experts.all_bytes;
      here.flops -= item.experts.flops;
      const double apart = decode_seconds(home, item.experts, 0) + kExpertsApart;
      empty += apart;
      full += apart;
      prefill += prefill_seconds(home, item.experts, tokens.prompt, plan.request.n_batch);
    }
    const Constants c = constants_of(*plan.model, plan.item_device[i]);
    if (c.bandwidth <= 0) return {};
    p.provenance = std::min(p.provenance, c.provenance);
    if (i > 0 && plan.item_device[i] != plan.item_device[i - 1]) empty += kCrossing, full += kCrossing;
    empty += decode_seconds(c, here, 0);
    full += decode_seconds(c, here, plan.request.n_ctx);
    prefill += prefill_seconds(c, here, tokens.prompt, plan.request.n_batch);
    mixture |= item.work.mixture;
  }
  p.known = true;
  p.decode = 1 / empty;
  p.decode_full = 1 / full;
  p.prefill = tokens.prompt / prefill;
  const Interval interval = decode_interval(p.decode, p.provenance, mixture);
  p.low = interval.low;
  p.high = interval.high;
  return p;
}

}  // namespace brim::negotiator
