#include "program.hpp"

#include <algorithm>

namespace check {
namespace {

bool in_step(const brim_value_desc& v) { return v.kind == BRIM_VALUE_INPUT && v.role != BRIM_INPUT_EMBEDDING; }
bool is_constant(const brim_value_desc& v) { return v.kind == BRIM_VALUE_WEIGHT || v.kind == BRIM_VALUE_INPUT; }

}  // namespace

StateStore::StateStore(Device& device, const std::vector<brim_state_desc>& of, uint32_t kv_dtype, uint32_t blocks)
    : descs(of), n_blocks(blocks) {
  for (const brim_state_desc& desc : descs) {
    const bool kv = desc.kind != BRIM_STATE_CONV && desc.kind != BRIM_STATE_RECURRENT;
    dtypes.push_back(kv ? kv_dtype : BRIM_DTYPE_F32);
    brim_state_layout& layout = layouts.emplace_back();
    const Answer answer = device.layer().state_layout(device.handle(), desc, dtypes.back(), &layout);
    if (answer.status == BRIM_UNSUPPORTED) {
      device.trial().skip("states of kind {} stored as {}: {}", desc.kind, brim_dtype_name(dtypes.back()),
                          answer.text());
    }
    must(device.trial(), "state_layout", answer);
    if (kv) block_tokens = std::max(1u, layout.block_tokens);
    buffers.push_back(std::make_unique<Buffer>(device, layout.block_bytes * n_blocks));
  }
}

brim_program_state StateStore::program_state(uint32_t i, uint32_t group) const {
  brim_program_state state{};
  state.struct_size = sizeof(state);
  state.state = i;
  state.dtype = dtypes[i];
  state.group = group;
  state.layout_id = layouts[i].layout_id;
  state.buffer = buffers[i]->handle();
  state.offset = buffers[i]->offset();
  state.n_blocks = n_blocks;
  return state;
}

Program::Program(Device& device, const Net& net, const Setup& setup, StateStore* store, Answer* answer)
    : device_(device), net_(net), setup_(setup) {
  if (store == nullptr) {
    own_store_ = std::make_unique<StateStore>(device, net.states, setup.kv_dtype, setup.n_blocks);
    store = own_store_.get();
  }
  store_ = store;
  if (setup_.nodes.empty()) {
    for (uint32_t i = 0; i < net_.nodes.size(); ++i) setup_.nodes.push_back(i);
  }
  image_ = std::make_unique<Image>(net_, setup_.strides);
  layout_ =
      std::make_unique<StepLayout>(net_.states, setup_.bucket, store_->block_tokens, setup_.strides, setup_.step_seed);
  bucket_ = std::make_unique<Fenced>(fenced_struct(setup_.bucket, setup_.strides.bucket));
  nodes_ = std::make_unique<Fenced>(setup_.nodes.data(), setup_.nodes.size() * 4, 4);
  descs_ = std::make_unique<Fenced>(fenced_array(net_.states, setup_.strides.state_desc));
  bucket_->seal(), nodes_->seal(), descs_->seal();
  bind();
  const auto done = [&](const char* entry, const Answer& result) {
    if (answer != nullptr) *answer = result;
    if (!result.ok() && answer == nullptr) must(device_.trial(), entry, result);
    return result.ok();
  };
  if (!done("program_measure", measure(&cost_))) return;
  if (cost_.workspace > 1ull << 32) {
    device_.trial().fail("program_measure: a workspace of {} bytes for a small program", cost_.workspace);
    device_.trial().stop();
  }
  workspace_ = std::make_unique<Buffer>(device_, cost_.workspace);
  brim_binding binding{};
  binding.struct_size = sizeof(binding);
  binding.buffer = workspace_->handle();
  binding.offset = workspace_->offset();
  binding.bytes = cost_.workspace;
  bindings_.push_back(binding);
  step_ = std::make_unique<Buffer>(device_, layout_->bytes());
  const uint64_t before = device_.host().live_bytes();
  device_.host().mark_peak();
  if (!done("program_create", create(&program_))) return;
  held_ = device_.host().live_bytes() - before;
  peak_ = device_.host().peak_bytes();
}

Program::~Program() {
  if (program_ != nullptr) device_.layer().program_destroy(program_);
}

bool Program::has_plain_bindings() const {
  return std::none_of(bindings_.begin(), bindings_.end(),
                      [](const brim_binding& b) { return b.layout_id != 0 || b.n_rows != 0; });
}

void Program::bind() {
  for (brim_value v = 1; v < net_.values.size(); ++v) {
    const brim_value_desc& desc = net_.values[v];
    if (desc.kind == BRIM_VALUE_VIEW || desc.kind == BRIM_VALUE_STATE || in_step(desc)) continue;
    const uint64_t bytes = bytes_of(desc, setup_.bucket);
    if (const auto given = setup_.given.find(v); given != setup_.given.end()) {
      brim_binding b{};
      b.value = v;
      b.buffer = given->second;
      b.bytes = bytes;
      bindings_.push_back(b);
      continue;
    }
    if (const auto shared = setup_.storage.find(v); shared != setup_.storage.end()) {
      add_binding(v, *buffers_.at(shared->second));
      continue;
    }
    if (desc.kind == BRIM_VALUE_WEIGHT) {
      bind_weight(v, bytes);
      continue;
    }
    buffers_[v] = std::make_unique<Buffer>(device_, bytes);
    if (!net_.weights[v].empty()) std::memcpy(buffers_[v]->data(), net_.weights[v].data(), bytes);
    add_binding(v, *buffers_[v]);
  }
}

void Program::add_binding(brim_value v, const Buffer& buffer, uint64_t layout_id, uint64_t first, uint64_t n) {
  brim_binding b{};
  b.struct_size = sizeof(b);
  b.value = v;
  b.buffer = buffer.handle();
  b.offset = buffer.offset();
  b.bytes = buffer.bytes();
  b.layout_id = layout_id;
  b.first_row = first;
  b.n_rows = n;
  bindings_.push_back(b);
}

void Program::bind_weight(brim_value v, uint64_t bytes) {
  const brim_value_desc& desc = net_.values[v];
  const std::vector<std::byte>& plain = net_.weights[v];
  const uint64_t rows = desc.rank ? desc.dim[0].k : 1, row = bytes / rows;
  uint64_t packed_bytes = 0, layout_id = 0;
  must(device_.trial(), "pack_size",
       device_.layer().pack_size(device_.handle(), image_->graph(), v, &packed_bytes, &layout_id));
  if (layout_id != 0) {
    std::vector<uint64_t> dims;
    for (uint32_t i = 0; i < desc.rank; ++i) dims.push_back(desc.dim[i].k);
    const Buffer source(device_, bytes);
    std::memcpy(source.data(), plain.data(), bytes);
    auto& packed = buffers_[v] = std::make_unique<Buffer>(device_, packed_bytes);
    // In two ranges, as a host does that releases its mapped file behind them.
    for (const auto& [first, last] : {std::pair<uint64_t, uint64_t>{0, rows / 3}, {rows / 3, rows}}) {
      if (first == last) continue;
      must(device_.trial(), "pack",
           device_.layer().pack(device_.queue(), desc.dtype, dims, layout_id, first, last - first, source.handle(),
                                source.offset() + first * row, packed->handle(), packed->offset()));
    }
    must(device_.trial(), "fence_wait behind pack", device_.finish());
    before_[v].assign(packed->data(), packed->data() + packed_bytes);
    return add_binding(v, *packed, layout_id);
  }
  uint64_t pieces = std::max<uint64_t>(setup_.pieces, (bytes - 1) / device_.info().max_binding + 1);
  if (pieces > rows || desc.rank < 2) pieces = 1;
  if (pieces == 1) {
    buffers_[v] = std::make_unique<Buffer>(device_, bytes, false);
    std::memcpy(buffers_[v]->data(), plain.data(), bytes);
    before_[v] = plain;
    return add_binding(v, *buffers_[v]);
  }
  for (uint64_t p = 0; p < pieces; ++p) {
    const uint64_t first = rows * p / pieces, last = rows * (p + 1) / pieces;
    const Buffer& piece =
        *pieces_.emplace_back(v, std::make_unique<Buffer>(device_, (last - first) * row, false)).second;
    std::memcpy(piece.data(), plain.data() + first * row, (last - first) * row);
    add_binding(v, piece, 0, first, last - first);
  }
}

Fenced Program::info_struct(bool live, std::vector<Fenced>& parts) {
  std::vector<brim_binding> bindings = bindings_;
  std::vector<brim_program_state> states;
  for (uint32_t i = 0; i < net_.states.size(); ++i) states.push_back(store_->program_state(i, layout_->group_of(i)));
  if (!live) {
    // The host asks before it has buffers and a workspace; sizes are all there is.
    std::erase_if(bindings, [](const brim_binding& b) { return b.value == 0; });
    for (brim_binding& b : bindings) b.buffer = nullptr, b.offset = 0;
    for (brim_program_state& s : states) s.buffer = nullptr, s.offset = 0;
  }
  for (brim_binding& b : bindings) b.struct_size = setup_.strides.binding;
  for (brim_program_state& s : states) s.struct_size = setup_.strides.state;
  brim_program_info info{};
  info.numerics = setup_.numerics;
  info.graph = image_->graph();
  info.nodes = nodes_->as<uint32_t>();
  info.n_nodes = static_cast<uint32_t>(setup_.nodes.size());
  info.bucket = bucket_->as<brim_bucket>();
  info.step = layout_->get();
  info.bindings = parts.emplace_back(fenced_array(bindings, setup_.strides.binding)).data();
  info.n_bindings = static_cast<uint32_t>(bindings.size());
  info.binding_stride = setup_.strides.binding;
  info.states = parts.emplace_back(fenced_array(states, setup_.strides.state)).data();
  info.n_states = static_cast<uint32_t>(states.size());
  info.state_stride = setup_.strides.state;
  info.state_descs = descs_->data();
  info.n_state_descs = static_cast<uint32_t>(net_.states.size());
  info.state_desc_stride = setup_.strides.state_desc;
  for (const Fenced& part : parts) part.seal();
  Fenced whole = fenced_struct(info, setup_.strides.info);
  whole.seal();
  return whole;
}

Answer Program::measure(brim_program_cost* out) {
  std::vector<Fenced> parts;
  const Fenced info = info_struct(false, parts);
  return device_.layer().program_measure(device_.handle(), info.as<brim_program_info>(), out);
}

Answer Program::create(brim_program** out) {
  std::vector<Fenced> parts;
  Fenced info = info_struct(true, parts);
  const Answer answer = device_.layer().program_create(device_.handle(), info.as<brim_program_info>(), out);
  created_from_ = std::move(parts);
  created_from_.push_back(std::move(info));
  return answer;
}

void Program::forget_info() {
  for (const Fenced& part : created_from_) part.close();
  image_->close();
  layout_->close();
  bucket_->close(), nodes_->close(), descs_->close();
}

void Program::set(brim_value value, const std::vector<float>& data) {
  Buffer& buffer = of(value);
  std::memcpy(buffer.data(), data.data(), std::min<uint64_t>(buffer.bytes(), data.size() * sizeof(float)));
}

std::vector<float> Program::floats(brim_value value, uint64_t count) {
  std::vector<float> out(count);
  std::memcpy(out.data(), of(value).data(), count * sizeof(float));
  return out;
}

void Program::soil(std::byte with) {
  for (auto& [value, buffer] : buffers_) {
    if (!is_constant(net_.values[value])) std::memset(buffer->data(), static_cast<int>(with), buffer->bytes());
  }
  if (workspace_) std::memset(workspace_->data(), static_cast<int>(with), workspace_->bytes());
}

Answer Program::run(const Step& step, const volatile uint32_t* cancel) {
  fill(step);
  Answer answer = submit(device_.queue(), cancel);
  if (answer.ok() || answer.status == BRIM_CANCELLED) {
    // Errors of the work itself come out of the wait.
    const Answer finished = device_.finish();
    if (answer.ok()) answer = finished;
  }
  return answer;
}

Answer Program::submit(brim_queue* queue, const volatile uint32_t* cancel) {
  if (!run_) {
    run_ = std::make_unique<Fenced>(setup_.strides.run, 8);
    counts_ = std::make_unique<Fenced>(sizeof(brim_step_header), 64);
  }
  step_before_.assign(step_->data(), step_->data() + step_->bytes());
  for (const auto& [value, buffer] : buffers_) {
    if (net_.values[value].kind != BRIM_VALUE_INPUT) continue;
    before_[value].assign(buffer->data(), buffer->data() + buffer->bytes());
  }
  run_->open(), counts_->open();
  std::memcpy(counts_->data(), &header_, sizeof(header_));
  brim_run run{};
  run.struct_size = setup_.strides.run;
  run.step_block = step_->handle();
  run.step_offset = step_->offset();
  run.counts = counts_->as<brim_step_header>();
  run.cancel = cancel;
  std::memcpy(run_->data(), &run, std::min<size_t>(setup_.strides.run, sizeof(run)));
  run_->seal(), counts_->seal();
  return device_.layer().program_run(program_, queue, run_->as<brim_run>());
}

void Program::inspect(const char* after) {
  Trial& trial = device_.trial();
  const auto whole = [&](const Buffer& buffer, const std::string& what) {
    const std::string damage = buffer.damage();
    trial.expect(damage.empty(), "{}: {} of {} bytes was {}", after, what, buffer.bytes(), damage);
  };
  const auto name = [&](brim_value v) {
    static constexpr const char* kKinds[] = {"value", "input", "weight", "state", "temporary", "output", "view"};
    return fmt::format("{} {} (value {})", kKinds[std::min<uint32_t>(net_.values[v].kind, 6)], net_.values[v].role, v);
  };
  for (const auto& [v, buffer] : buffers_) {
    whole(*buffer, name(v));
    const auto before = before_.find(v);
    if (before == before_.end()) continue;
    trial.expect(std::memcmp(before->second.data(), buffer->data(), before->second.size()) == 0,
                 "{}: {} was written, which is only read", after, name(v));
  }
  for (const auto& [v, buffer] : pieces_) whole(*buffer, "a piece of " + name(v));
  if (workspace_) whole(*workspace_, "the workspace, as measured,");
  for (size_t i = 0; own_store_ && i < own_store_->buffers.size(); ++i) {
    whole(*own_store_->buffers[i], fmt::format("the storage of state {}", i));
  }
  if (!step_) return;
  whole(*step_, "the step block");
  if (step_before_.empty()) return;
  // next_token is the one array that a device may write.
  const uint64_t next = layout_->get()->next_token, bytes = uint64_t{setup_.bucket.n_seqs} * 4;
  const bool same =
      std::memcmp(step_before_.data(), step_->data(), next) == 0 &&
      std::memcmp(step_before_.data() + next + bytes, step_->data() + next + bytes, step_->bytes() - next - bytes) == 0;
  trial.expect(same, "{}: the step block was written, which is only read", after);
}

bool supported(Device& device, const Net& net, uint32_t numerics, std::string* why) {
  // In the form that nobody can misread: a plugin that assumes strides is to be found, not skipped.
  const Image image(net, Strides::exact());
  for (uint32_t i = 0; i < net.nodes.size(); ++i) {
    const Net::Node& node = net.nodes[i];
    const brim_op_caps* caps = device.layer().caps_of(node.op);
    brim_support answer{};
    if (caps != nullptr && node.rev <= caps->max_rev && (node.must & ~caps->features) == 0) {
      must(device.trial(), "support", device.layer().support(device.handle(), image.graph(), i, numerics, &answer));
    }
    if (answer.level == BRIM_SUPPORT_YES) continue;
    if (why != nullptr) *why = fmt::format("op {} is not supported", node.op);
    return false;
  }
  return true;
}

}  // namespace check
