#include <algorithm>
#include <base/error.hpp>
#include <chrono>
#include <cstring>
#include <engine/stepper.hpp>
#include <negotiator/work.hpp>

namespace brim::engine {

Stepper::Stepper(std::shared_ptr<const negotiator::Plan> plan, const LoadOptions& options)
    : plan_(plan), residency_(std::move(plan), options) {
  for (const negotiator::GroupPlan& g : plan_->groups) groups_.push_back(g.shape());
  row_sequence_.reserve(plan_->request.n_batch);
}

// A step that failed may have left work under way on other devices.
Stepper::~Stepper() {
  for (uint32_t d = 0; d < residency_.n_devices(); ++d) residency_.on(d).device->stop();
}

void Stepper::settle() {
  for (uint32_t d = 0; d < residency_.n_devices(); ++d) residency_.on(d).device->settle();
}

Stepper::Compiled& Stepper::compiled(const negotiator::Variant& variant, const brim_bucket& bucket) {
  const auto same = [&](const Compiled& c) {
    return c.graph == variant.graph.get() && c.n_tokens == bucket.n_tokens && c.n_kv == bucket.n_kv;
  };
  const auto at = std::find_if(programs_.begin(), programs_.end(), same);
  if (at != programs_.end()) {
    programs_.splice(programs_.begin(), programs_, at);
    return programs_.front();
  }
  if (programs_.size() >= negotiator::kProgramsKept) programs_.pop_back();
  Compiled c{
      variant.graph.get(), bucket.n_tokens, bucket.n_kv, std::make_unique<graph::StepLayout>(bucket, groups_), {}, {}};
  for (const graph::Segment& segment : variant.segments) {
    const auto info = residency_.program_info(variant, segment, *c.layout);
    c.programs.push_back(residency_.on(segment.device).device->create(info->view()));
    c.owners.push_back(residency_.owners(variant, segment));
  }
  programs_.push_front(std::move(c));
  return programs_.front();
}

void Stepper::warm_up(const LoadOptions& options) {
  for (const negotiator::Variant& v : plan_->variants) {
    options.stop_if_cancelled();
    if (v.embeddings) continue;
    const bool decode = v.phase == BRIM_PHASE_DECODE;
    compiled(v, plan_->bucket(decode ? 1 : plan_->request.n_batch, 1));
  }
}

void Stepper::compose(std::span<const StepRow> rows, const Sequences& sequences) {
  const auto n = static_cast<uint32_t>(rows.size());
  uint32_t n_seqs = 0, n_outputs = 0, n_kv = 0;
  settle();  // before step blocks are written and programs dropped that a step which failed may still be using
  row_sequence_.clear();
  for (uint32_t i = 0; i < n; ++i) {
    if (i == 0 || rows[i].sequence != rows[i - 1].sequence) ++n_seqs;
    row_sequence_.push_back(n_seqs - 1);
    n_outputs += rows[i].wants_output;
    n_kv = std::max(n_kv, rows[i].index + 1);
  }
  const bool decode = n_seqs == n;
  variant_ = &plan_->variant(decode ? BRIM_PHASE_DECODE : BRIM_PHASE_PREFILL, rows[0].embedding != nullptr);
  current_ = &compiled(*variant_, plan_->bucket(n, n_kv));

  counts_ = {};
  counts_.struct_size = sizeof(counts_);
  counts_.n_tokens = n;
  counts_.n_seqs = n_seqs;
  counts_.n_outputs = n_outputs;
  counts_.n_kv = n_kv;
  const graph::StepLayout& layout = *current_->layout;
  const brim_step_layout& at = layout.view();
  const uint32_t components = layout.bucket().n_position;
  const uint32_t width = plan_->model->description->model.width;
  for (uint32_t d = 0; d < residency_.n_devices(); ++d) {
    void* block = residency_.on(d).step_map;
    if (d > 0) {
      std::memcpy(block, residency_.on(0).step_map, layout.bytes());
    } else {
      layout.clear(block, counts_);
      uint32_t output = 0;
      for (uint32_t i = 0; i < n; ++i) {
        const StepRow& row = rows[i];
        const uint32_t s = row_sequence_[i];
        graph::StepLayout::at(block, at.token)[i] = row.token;
        std::copy_n(row.position.begin(), components, graph::StepLayout::at(block, at.position) + i * components);
        graph::StepLayout::at(block, at.sequence)[i] = static_cast<int32_t>(s);
        graph::StepLayout::at(block, at.adapter)[i] = row.adapter;
        if (row.wants_output) graph::StepLayout::at(block, at.output_row)[output++] = static_cast<int32_t>(i);
        const bool first = i == 0 || s != row_sequence_[i - 1];
        if (first) graph::StepLayout::at(block, at.q_begin)[s] = static_cast<int32_t>(i);
        for (uint32_t g = 0; g < sequences.n_groups(); ++g) {
          const brim_group_layout& group = layout.groups()[g];
          graph::StepLayout::at(block, group.kv_slot)[i] = sequences.slot_of(row.sequence, g, row.index);
          graph::StepLayout::at(block, group.kv_len)[s] = static_cast<int32_t>(row.index + 1);
          if (first) {
            const auto& blocks = sequences[row.sequence].blocks[g];
            const uint32_t skipped = sequences.group(g).first_seen(row.index) / group.block_tokens;
            std::copy(blocks.begin() + skipped, blocks.end(),
                      graph::StepLayout::at(block, group.block_table) + uint64_t{s} * group.max_blocks);
            graph::StepLayout::at(block, group.kv_first)[s] = static_cast<int32_t>(skipped * group.block_tokens);
          }
        }
        if (first && sequences.has_recurrent()) {
          const Sequence& sequence = sequences[row.sequence];
          const auto slot = [&](uint32_t k) {
            return static_cast<int32_t>(row.sequence * negotiator::kSlotsPerSequence + k);
          };
          graph::StepLayout::at(block, at.state_read)[s] = row.index == 0 ? -1 : slot(sequence.slot);
          graph::StepLayout::at(block, at.state_write)[s] = slot(next_slot(sequence));
        }
      }
      // Padding of output_row repeats the last.
      int32_t* output_row = graph::StepLayout::at(block, at.output_row);
      for (uint32_t i = output; i < layout.bucket().n_outputs; ++i) output_row[i] = output ? output_row[output - 1] : 0;
    }
    if (rows[0].embedding && residency_.on(d).embedding_map) {
      auto* to = reinterpret_cast<float*>(residency_.on(d).embedding_map);
      for (uint32_t i = 0; i < n; ++i) std::copy_n(rows[i].embedding, width, to + uint64_t{i} * width);
    }
  }
}

void Stepper::copy_blocks(std::span<const BlockCopy> copies) {
  if (copies.empty()) return;
  for (const BlockCopy& copy : copies) {
    for (uint32_t s = 0; s < plan_->states.size(); ++s) {
      const negotiator::StatePlan& state = plan_->states[s];
      if (state.group != copy.group || state.storage != s) continue;
      brim_buffer* buffer = residency_.state(s).buffer;
      const uint64_t bytes = state.layout.block_bytes;
      residency_.on(state.device)
          .device->copy(buffer, bytes * static_cast<uint64_t>(copy.to), buffer,
                        bytes * static_cast<uint64_t>(copy.from), bytes);
    }
  }
  settle();
}

void Stepper::copy_across(const graph::Transfer& t) {
  const graph::Place& at_source = variant_->memory[t.from].places.at(t.value);
  const graph::Place& at_target = variant_->memory[t.to].places.at(t.value);
  Residency::OnDevice& from = residency_.on(t.from);
  Residency::OnDevice& to = residency_.on(t.to);
  const uint64_t bytes = graph::value_bytes(variant_->graph->value(t.value), current_->layout->bucket());
  const std::byte* source = residency_.address(at_source);
  std::byte* target = residency_.address(at_target);
  if (!source) {
    from.device->copy(from.staging.get(), 0, from.arena.get(), at_source.offset, bytes);
    source = from.staging_map;
  }
  from.device->settle();
  to.device->settle();  // what lay there before may still be read
  if (target) {
    std::memcpy(target, source, bytes);
  } else {
    std::memcpy(to.staging_map, source, bytes);
    to.device->copy(to.arena.get(), at_target.offset, to.staging.get(), 0, bytes);
  }
}

// Brings what the segment needs to where it looks for it, and waits for devices in whose memory it reads or writes.
void Stepper::prepare(size_t segment) {
  for (const graph::Transfer& t : variant_->segments[segment].transfers) {
    if (!graph::in_place(variant_->memory, t)) copy_across(t);
  }
  for (const uint32_t owner : current_->owners[segment]) residency_.on(owner).device->settle();
}

brim_status Stepper::run_program(uint32_t device, brim_program* program, const std::atomic<uint32_t>* cancel) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  Residency::OnDevice& on = residency_.on(device);
  brim_run run{};
  run.struct_size = sizeof(run);
  run.step_block = on.step.get();
  run.counts = &counts_;
  run.cancel = reinterpret_cast<const volatile uint32_t*>(cancel);
  return on.device->run(program, run);
}

brim_status Stepper::run(const std::atomic<uint32_t>* cancel) {
  const auto& segments = variant_->segments;
  brim_status status = BRIM_OK;
  for (size_t i = 0; i < segments.size() && status == BRIM_OK; ++i) {
    prepare(i);
    status = run_program(segments[i].device, current_->programs[i].get(), cancel);
  }
  settle();
  return status;
}

brim_status Stepper::run_timed(const std::atomic<uint32_t>* cancel, brim_node_time_fn tell, void* user) {
  const graph::Graph& graph = *variant_->graph;
  const auto& weights = plan_->model->description->weights;
  for (size_t i = 0; i < variant_->segments.size(); ++i) {
    const graph::Segment& segment = variant_->segments[i];
    Device& device = *residency_.on(segment.device).device;
    prepare(i);
    device.finish();
    for (const uint32_t index : segment.nodes) {
      const graph::Segment alone{segment.device, {}, {index}};
      const auto info = residency_.program_info(*variant_, alone, *current_->layout);
      const Program program = device.create(info->view());
      const auto start = std::chrono::steady_clock::now();
      const brim_status status = run_program(segment.device, program.get(), cancel);
      device.finish();
      if (status != BRIM_OK) return status;
      const brim_node& node = graph.nodes()[index];
      brim_node_time time{};
      time.struct_size = sizeof(time);
      time.device = plan_->devices[segment.device].device;
      time.layer = node.layer;
      time.ns = static_cast<uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
      const std::string op = graph::op_name(node.op);
      time.op = str(op);
      for (uint32_t i = 0; i < node.n_in; ++i) {
        const brim_value_desc& value = graph.value(graph.storage(node.in[i]));
        if (node.in[i] == 0 || value.kind != BRIM_VALUE_WEIGHT) continue;
        if (time.weight.len == 0) time.weight = str(weights[value.role].tensor->name);
        const double share = negotiator::weight_share(graph, node, i, counts_.n_tokens);
        time.weight_bytes +=
            static_cast<uint64_t>(share * static_cast<double>(graph::value_bytes(value, current_->layout->bucket())));
      }
      tell(user, &time);
    }
  }
  return BRIM_OK;
}

const float* Stepper::output(uint32_t role) const {
  for (const graph::Graph::Output& o : variant_->graph->outputs()) {
    if (o.role != role) continue;
    const uint32_t device = variant_->device_of[variant_->graph->value(o.value).producer];
    return reinterpret_cast<const float*>(residency_.address(variant_->memory[device].places.at(o.value)));
  }
  return nullptr;
}

uint32_t Stepper::output_width(uint32_t role) const {
  const graph::Graph& graph = *plan_->variants.front().graph;
  for (const graph::Graph::Output& o : graph.outputs()) {
    if (o.role == role) return graph.value(o.value).dim[1].k;
  }
  return 0;
}

}  // namespace brim::engine
