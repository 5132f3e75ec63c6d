#include <algorithm>
#include <base/error.hpp>
#include <base/os/machine.hpp>
#include <engine/residency.hpp>

namespace brim::engine {
namespace {

using negotiator::Residence;

// Loaded between two looks at the memory that is left; and of weights in one buffer, as devices may take all of a
// buffer's memory when they give it.
constexpr uint64_t kBetweenLooks = 64ull << 20, kMostOfWeights = 1ull << 30;

// Others take memory too while weights come in, and some systems stand still where the last of it goes.
void check_floor(const negotiator::Plan& plan, const LoadOptions& options) {
  if (plan.request.unsafe_overcommit) return;
  for (const negotiator::PoolCharge& c : plan.pools) {
    if (c.pool != 0) continue;  // the system's; others refuse an allocation that they have no room for
    const uint64_t left = options.memory_left ? options.memory_left() : os::system_memory().available;
    if (left >= c.floor) continue;
    throw Error(BRIM_OUT_OF_MEMORY,
                fmt::format("{}: loading was stopped: {} bytes of the system's memory are left by now, {} have to stay "
                            "free; everything was given back. Close other programs, or plan again",
                            plan.model->file.path(), left, c.floor),
                {0, c.floor, left, 0});
  }
}

std::byte* mapped(Device& device, const Buffer& buffer) {
  return buffer ? static_cast<std::byte*>(device.map(buffer.get())) : nullptr;
}

}  // namespace

Residency::Residency(std::shared_ptr<const negotiator::Plan> plan, const LoadOptions& options)
    : plan_(std::move(plan)) {
  plan_->model->file.check_unchanged();
  allocate(options);
  import_outputs();
  load_weights(options);
  plan_->model->file.check_unchanged();
}

void Residency::allocate(const LoadOptions& options) {
  devices_.resize(plan_->devices.size());
  for (uint32_t i = 0; i < devices_.size(); ++i) {
    const negotiator::DevicePlan& d = plan_->devices[i];
    OnDevice& on = devices_[i];
    on.device = std::make_unique<Device>(plan_->device(i));
    Device& device = *on.device;
    on.arena = device.allocate(d.local_heap, d.arena_bytes);
    on.workspace = device.allocate(d.local_heap, d.workspace_bytes);
    on.outputs = device.allocate(d.host_heap, d.outputs_bytes);
    on.embedding = device.allocate(d.host_heap, d.embedding_bytes);
    on.step = device.allocate(d.host_heap, d.step_bytes);
    on.staging = device.allocate(d.host_heap, d.staging_bytes);
    on.loading = device.allocate(d.host_heap, d.loading_bytes);
    on.outputs_map = mapped(device, on.outputs);
    on.embedding_map = mapped(device, on.embedding);
    on.step_map = mapped(device, on.step);
    on.staging_map = mapped(device, on.staging);
    if (plan_->device(i).heaps[d.local_heap].info.flags & BRIM_HEAP_HOST_VISIBLE) {
      on.arena_map = mapped(device, on.arena);
    }
  }

  state_buffers_.resize(plan_->states.size());
  for (uint32_t s = 0; s < plan_->states.size(); ++s) {
    const negotiator::StatePlan& state = plan_->states[s];
    OnDevice& on = devices_[state.device];
    if (state.storage == s)
      state_buffers_[s] = on.device->allocate(plan_->devices[state.device].local_heap, state.bytes);
    on.states.push_back({sizeof(brim_program_state), s, state.dtype, state.group, state.layout.layout_id,
                         state_buffers_[state.storage].get(), 0, state.n_blocks, 0});
  }

  // Copied weights fill buffers, one behind the other; a larger weight has one of its own.
  weight_places_.resize(plan_->weights.size());
  for (uint32_t i = 0; i < devices_.size(); ++i) {
    import_weights(i);
    OnDevice& on = devices_[i];
    const uint32_t heap = plan_->devices[i].local_heap;
    const uint64_t most = std::min(plan_->device(i).heaps[heap].info.max_alloc, kMostOfWeights);
    std::vector<uint32_t> run;
    uint64_t run_bytes = 0;
    const auto flush = [&] {
      if (run.empty()) return;
      check_floor(*plan_, options);
      Buffer buffer = on.device->allocate(heap, run_bytes);
      uint64_t offset = 0;
      for (const uint32_t w : run) {
        weight_places_[w] = {buffer.get(), offset};
        offset += plan_->weights[w].bytes;
      }
      on.weights.push_back(std::move(buffer));
      run.clear();
      run_bytes = 0;
    };
    for (uint32_t w = 0; w < plan_->weights.size(); ++w) {
      const negotiator::WeightPlan& weight = plan_->weights[w];
      if (weight.device != i || weight.residence == Residence::kMapped) continue;
      if (run_bytes + weight.bytes > most) flush();
      run.push_back(w);
      run_bytes += weight.bytes;
    }
    flush();
  }
}

// Where values cross in place, one device works in the outputs of another.
void Residency::import_outputs() {
  for (const negotiator::Variant& variant : plan_->variants) {
    for (uint32_t d = 0; d < variant.memory.size(); ++d) {
      for (const auto& [value, place] : variant.memory[d].places) {
        if (place.owner == d || views_.count({d, place.owner})) continue;
        const OnDevice& owner = devices_[place.owner];
        views_[{d, place.owner}] =
            devices_[d].device->import(owner.outputs_map, plan_->devices[place.owner].outputs_bytes, true);
      }
    }
  }
}

std::byte* Residency::address(const graph::Place& place) const {
  const OnDevice& on = devices_[place.owner];
  std::byte* base = place.area == graph::Area::kOutputs ? on.outputs_map : on.arena_map;
  return base ? base + place.offset : nullptr;
}

// Tensors that are read in place, in the order of the file: each window reaches as far as one buffer may.
void Residency::import_weights(uint32_t device) {
  const auto tensor_of = [&](uint32_t w) -> const model::Tensor& {
    return *plan_->model->description->weights[plan_->weights[w].weight].tensor;
  };
  std::vector<uint32_t> mapped;
  for (uint32_t w = 0; w < plan_->weights.size(); ++w) {
    if (plan_->weights[w].device == device && plan_->weights[w].residence == Residence::kMapped) mapped.push_back(w);
  }
  std::sort(mapped.begin(), mapped.end(), [&](uint32_t a, uint32_t b) {
    return std::pair(tensor_of(a).file, tensor_of(a).offset) < std::pair(tensor_of(b).file, tensor_of(b).offset);
  });
  OnDevice& on = devices_[device];
  const uint64_t most = plan_->device(device).heaps[plan_->devices[device].local_heap].info.max_alloc;
  for (size_t first = 0, next; first < mapped.size(); first = next) {
    const model::Tensor& head = tensor_of(mapped[first]);
    const uint64_t begin = head.offset / negotiator::kWindowBorder * negotiator::kWindowBorder;
    uint64_t end = head.offset + head.bytes;
    for (next = first + 1; next < mapped.size(); ++next) {
      const model::Tensor& tensor = tensor_of(mapped[next]);
      if (tensor.file != head.file || tensor.offset + tensor.bytes - begin > most) break;
      end = std::max(end, tensor.offset + tensor.bytes);
    }
    on.windows.push_back(on.device->import(plan_->model->file.file(head.file).data() + begin, end - begin));
    for (size_t i = first; i < next; ++i) {
      weight_places_[mapped[i]] = {on.windows.back().get(), tensor_of(mapped[i]).offset - begin};
    }
  }
}

void Residency::load_weights(const LoadOptions& options) {
  const auto& weights = plan_->model->description->weights;
  Progress progress{options, 0, 0};
  for (const negotiator::WeightPlan& w : plan_->weights) progress.total += weights[w.weight].tensor->bytes;
  std::vector<WeightLoader> loaders;
  for (uint32_t i = 0; i < devices_.size(); ++i)
    loaders.emplace_back(*plan_, i, *devices_[i].device, devices_[i].loading);
  check_floor(*plan_, options);
  uint64_t looked_at = 0;
  for (uint32_t i = 0; i < plan_->weights.size(); ++i) {
    options.stop_if_cancelled();
    if (progress.done - looked_at >= kBetweenLooks) {
      check_floor(*plan_, options);
      looked_at = progress.done;
    }
    const negotiator::WeightPlan& w = plan_->weights[i];
    const model::Tensor& tensor = *weights[w.weight].tensor;
    if (w.residence == Residence::kMapped) {
      plan_->model->file.advise(tensor, os::Access::kWillNeed);
      progress.add(BRIM_STAGE_READ, tensor.bytes);
    } else {
      loaders[w.device].load(w, weight_places_[i], progress);
    }
  }
  for (uint32_t i = 0; i < devices_.size(); ++i) {
    devices_[i].device->finish();
    devices_[i].device->give_back(devices_[i].loading, plan_->devices[i].loading_bytes);
  }
}

void Residency::discard_block(uint32_t group, int32_t block) noexcept {
  for (uint32_t s = 0; s < plan_->states.size(); ++s) {
    const negotiator::StatePlan& state = plan_->states[s];
    const topology::Device& device = plan_->device(state.device);
    if (state.group != group || state.storage != s || device.info.type != BRIM_DEVICE_CPU) continue;
    void* memory = nullptr;
    brim_error error = empty_error();
    if (device.backend->api.buffer_map(state_buffers_[s].get(), &memory, &error) != BRIM_OK) continue;
    os::discard(static_cast<std::byte*>(memory) + state.layout.block_bytes * static_cast<uint64_t>(block),
                state.layout.block_bytes);
  }
}

const brim_program_state& Residency::state(uint32_t index) const {
  const auto& states = devices_[plan_->states[index].device].states;
  return *std::find_if(states.begin(), states.end(), [&](const brim_program_state& s) { return s.state == index; });
}

std::unique_ptr<graph::ProgramInfo> Residency::program_info(const negotiator::Variant& variant,
                                                            const graph::Segment& segment,
                                                            const graph::StepLayout& step) {
  OnDevice& on = devices_[segment.device];
  const graph::DeviceMemory& memory = variant.memory[segment.device];
  auto info = std::make_unique<graph::ProgramInfo>(*variant.graph, segment, step, plan_->request.numerics,
                                                   plan_->model->description->states, on.states);
  for (const brim_value value : graph::touched(*variant.graph, segment)) {
    const brim_value_desc& desc = variant.graph->value(value);
    const uint64_t bytes = graph::value_bytes(desc, step.bucket());
    switch (desc.kind) {
      case BRIM_VALUE_INPUT:
        info->bind(value, on.embedding.get(), 0, bytes);
        break;
      case BRIM_VALUE_WEIGHT: {
        const auto w = std::find_if(plan_->weights.begin(), plan_->weights.end(),
                                    [&](const auto& p) { return p.weight == desc.role && p.device == segment.device; });
        const WeightPlace& place = weight_places_[static_cast<size_t>(w - plan_->weights.begin())];
        if (w->residence == Residence::kPacked) {
          info->bind(value, place.buffer, place.offset, w->bytes, w->layout_id);
        } else {
          info->bind_in_pieces(value, place.buffer, place.offset, bytes, desc.dim[0].k,
                               plan_->device(segment.device).info.max_binding);
        }
        break;
      }
      default: {
        const graph::Place& place = memory.places.at(value);
        const Buffer& buffer = place.owner != segment.device         ? views_.at({segment.device, place.owner})
                               : place.area == graph::Area::kOutputs ? on.outputs
                                                                     : on.arena;
        info->bind(value, buffer.get(), place.offset, bytes);
      }
    }
  }
  if (on.workspace) info->bind(0, on.workspace.get(), 0, plan_->devices[segment.device].workspace_bytes);
  return info;
}

std::vector<uint32_t> Residency::owners(const negotiator::Variant& variant, const graph::Segment& segment) const {
  std::vector<uint32_t> owners;
  const auto& places = variant.memory[segment.device].places;
  for (const brim_value value : graph::touched(*variant.graph, segment)) {
    const auto place = places.find(value);
    if (place == places.end() || place->second.owner == segment.device) continue;
    if (std::ranges::find(owners, place->second.owner) == owners.end()) owners.push_back(place->second.owner);
  }
  return owners;
}

}  // namespace brim::engine
