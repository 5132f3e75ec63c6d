#include "run.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "decode.hpp"

namespace check::ops {
namespace {

constexpr uint32_t kGap = 11, kBefore = 5;  // elements between rows of a strided view, and before the first
constexpr size_t kFew = 64;

bool can_be_strided(const Tensor& t) {
  return !t.weight && t.dtype == BRIM_DTYPE_F32 && t.dims.size() >= 2 && !t.exact.empty();
}

uint32_t step_rows(const Case& c) {
  for (const std::vector<Tensor>* list : {&c.in, &c.out}) {
    for (const Tensor& t : *list) {
      if (t.by_row) return t.dims[0];
    }
  }
  return 0;
}

// Rows of padding. With long contexts as many as a prefill's program has: backends cut the work of a program for many
// rows another way than that of one for few.
uint32_t padding_of(const Case& c) {
  for (const StateOfCase& state : c.state) {
    for (const Sequence& s : state.sequences) {
      if (s.length > 256) return 260;
    }
  }
  return 3;
}

bool is_slot(const brim_state_desc& desc) { return desc.kind == BRIM_STATE_CONV || desc.kind == BRIM_STATE_RECURRENT; }

// A case as a graph: node 0 stands for whoever made the inputs, node 1 is under test.
struct Built {
  Net net;
  std::vector<brim_value> in, out;
  brim_bucket bucket{sizeof(brim_bucket), 1, 1, 1, 1, 1};
  uint32_t rows = 1;     // of the step
  uint32_t strided = 0;  // bit per input
};

class Builder {
 public:
  Builder(const Case& c, const Form& form) : case_(c), form_(form), by_step_(form.padded || !c.state.empty()) {
    built_.rows = std::max(step_rows(c), 1u);
    if (by_step_) built_.bucket.n_tokens = built_.rows + (form.padded ? padding_of(c) : 0);
  }

  Built build() {
    for (uint32_t i = 0; i < case_.in.size(); ++i) built_.in.push_back(input(i));
    for (const Tensor& t : case_.out) built_.out.push_back(built_.net.temp(dims(t), t.dtype));
    std::vector<brim_value> made = built_.out;
    if (!case_.state.empty()) {
      const StateOfCase& state = case_.state[0];
      if (state.written) made.push_back(built_.net.next_version(built_.in[state.input]));
      built_.bucket.n_seqs = static_cast<uint32_t>(state.sequences.size()) + (form_.padded ? 1 : 0);
      for (const Sequence& s : state.sequences) built_.bucket.n_kv = std::max(built_.bucket.n_kv, s.length);
    }
    built_.net.node_bytes(BRIM_OP_EXT, {}, foreign_, {}, 0);
    built_.net.node_bytes(case_.op, built_.in, std::move(made), case_.attr, case_.must);
    return std::move(built_);
  }

 private:
  Dims dims(const Tensor& t) const {
    Dims out;
    for (const uint32_t d : t.dims) out.push_back(fixed(d));
    if (t.by_row && by_step_) out[0] = tokens();
    return out;
  }

  brim_value input(uint32_t i) {
    Net& net = built_.net;
    const Tensor& t = case_.in[i];
    if (!case_.state.empty() && i == case_.state[0].input) return net.state(case_.state[0].desc);
    if (t.dims.empty()) return 0;
    if (t.weight) return net.weight(dims(t), t.dtype, t.bytes);
    std::vector<std::byte> bytes = t.bytes;
    if (form_.nan && t.by_row && !poisoned_) {
      poisoned_ = true;
      const float nan = std::nanf("");
      std::memcpy(&bytes[nan_at(case_) * 4], &nan, 4);
    }
    if (t.by_row && by_step_) bytes.resize(bytes.size() / built_.rows * built_.bucket.n_tokens, std::byte{0xff});
    if (!form_.strided || !can_be_strided(t)) {
      const brim_value v = net.temp(dims(t), t.dtype);
      net.weights[v] = std::move(bytes);
      foreign_.push_back(v);
      return v;
    }
    built_.strided |= 1u << i;
    // [rows, width + gap], of which the view leaves out the gap, and every other element where rows may be strided too.
    const uint32_t inner = case_.op == BRIM_OP_COPY || form_.apart ? 2 : 1, width = t.dims.back(),
                   stride = inner * width + kGap;
    Dims shape = dims(t), strides(shape.size(), fixed(inner));
    brim_dim outer = fixed(1);
    uint32_t step = stride;
    for (size_t d = shape.size() - 1; d-- > 0;) {
      strides[d] = fixed(step);
      step *= shape[d].k;
      outer = {std::max(outer.sym, shape[d].sym), outer.k * shape[d].k};
    }
    const brim_value base = net.temp({outer, fixed(stride)}, t.dtype);
    const uint64_t n = width == 0 ? 0 : bytes.size() / 4 / width;
    std::vector<std::byte>& spread = net.weights[base];
    spread.assign(n * stride * 4, std::byte{0xff});
    for (uint64_t i = 0; i < n * width; ++i) {
      std::memcpy(&spread[(i / width * stride + kBefore + i % width * inner) * 4], &bytes[i * 4], 4);
    }
    foreign_.push_back(base);
    return net.view(base, shape, strides, kBefore);
  }

 public:
  // The last number of the second row (of the first where there is no other), where a tail is most easily forgotten.
  static uint64_t nan_at(const Case& c) {
    const Tensor& t = *first_by_row(c);
    return (t.dims[0] > 1 ? 2 : 1) * (t.exact.size() / t.dims[0]) - 1;
  }
  static const Tensor* first_by_row(const Case& c) {
    const auto found = std::find_if(c.in.begin(), c.in.end(), [](const Tensor& t) { return t.by_row; });
    return found == c.in.end() ? nullptr : &*found;
  }

 private:
  const Case& case_;
  const Form& form_;
  bool by_step_, poisoned_ = false;
  std::vector<brim_value> foreign_;
  Built built_;
};

// ---- states
// -----------------------------------------------------------------------------------------------------------

// The step's sequences over storage of their own; blocks of one sequence lie scattered.
class States {
 public:
  States(Device& device, Program& program, const Case& c)
      : device_(device), store_(program.store()), state_(c.state[0]) {
    std::vector<uint32_t> free(store_.n_blocks);
    std::iota(free.begin(), free.end(), 0u);
    std::shuffle(free.begin(), free.end(), device.trial().random());
    for (const Sequence& s : state_.sequences) {
      Rows& rows = step.sequences.emplace_back();
      rows.count = s.rows;
      rows.length_after = s.length;
      const uint32_t n = is_slot(state_.desc) ? 2 : (s.length + store_.block_tokens - 1) / store_.block_tokens;
      for (uint32_t b = 0; b < n; ++b) {
        rows.blocks.push_back(free.back());
        free.pop_back();
      }
      if (is_slot(state_.desc)) {
        rows.state_read = s.before.empty() ? -1 : static_cast<int32_t>(rows.blocks[0]);
        rows.state_write = static_cast<int32_t>(rows.blocks[1]);
      } else if (state_.desc.window != 0) {
        const uint32_t first = s.length - s.rows + 1;  // tokens that the first row sees
        rows.kv_first =
            first > state_.desc.window ? (first - state_.desc.window) / store_.block_tokens * store_.block_tokens : 0;
      }
    }
    step.output_rows = {0};
  }

  void fill() {
    for (size_t i = 0; i < state_.sequences.size(); ++i) {
      const Sequence& s = state_.sequences[i];
      const uint64_t n = is_slot(state_.desc) ? 1 : state_.written ? s.length - s.rows : s.length;
      if (s.before.empty() || n == 0) continue;
      std::vector<float> canonical;
      const auto take = [&](uint64_t begin, uint64_t count) {
        for (uint64_t k = begin; k < begin + count; ++k) canonical.push_back(static_cast<float>(s.before[k]));
      };
      if (is_slot(state_.desc)) {
        take(0, s.before.size());
      } else {
        take(0, n * k_row());
        take(s.length * k_row(), n * v_row());
      }
      must(device_.trial(), "state_import",
           device_.layer().state_import(device_.queue(), state_.desc, storage(), blocks(i, false), 0, n, BRIM_DTYPE_F32,
                                        canonical.data()));
    }
    if (!is_slot(state_.desc)) return;
    for (size_t i = 0; i < state_.sequences.size(); ++i) slots_.push_back(read(i, false));
  }

  std::vector<float> read(size_t i, bool after) {
    const Sequence& s = state_.sequences[i];
    std::vector<float> out(is_slot(state_.desc) ? state_.desc.elements : s.length * (k_row() + v_row()));
    must(device_.trial(), "state_export",
         device_.layer().state_export(device_.queue(), state_.desc, storage(), blocks(i, after), 0,
                                      is_slot(state_.desc) ? 1 : s.length, BRIM_DTYPE_F32, out.data()));
    return out;
  }
  // The slots that were read are as they were.
  bool read_slots_kept() {
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (state_.sequences[i].before.empty()) continue;
      const std::vector<float> now = read(i, false);
      if (std::memcmp(now.data(), slots_[i].data(), now.size() * 4) != 0) return false;
    }
    return true;
  }

  Step step;

 private:
  brim_program_state storage() const { return store_.program_state(0, is_slot(state_.desc) ? UINT32_MAX : 0); }
  uint64_t k_row() const { return uint64_t{state_.desc.n_head} * state_.desc.k_width; }
  uint64_t v_row() const { return uint64_t{state_.desc.n_head} * state_.desc.v_width; }
  std::vector<uint32_t> blocks(size_t i, bool after) const {
    const std::vector<uint32_t>& all = step.sequences[i].blocks;
    return is_slot(state_.desc) ? std::vector<uint32_t>{all[after ? 1 : 0]} : all;
  }
  Device& device_;
  StateStore& store_;
  const StateOfCase& state_;
  std::vector<std::vector<float>> slots_;
};

// ---- judging
// ----------------------------------------------------------------------------------------------------------

std::vector<double> decoded(const Buffer& buffer, uint32_t dtype, uint64_t elements) {
  const uint64_t bytes = brim_dtype_row_bytes(dtype, elements);
  if (dtype != BRIM_DTYPE_I32) return decode_by_format(dtype, {buffer.data(), bytes});
  std::vector<double> out(elements);
  for (uint64_t i = 0; i < elements; ++i) out[i] = buffer.as<int32_t>()[i];
  return out;
}

// Element by element where `rms` is 0; raises *error to the worst part of a limit.
std::string judge(const std::string& what, const std::vector<double>& want, const std::vector<double>& got,
                  const std::vector<double>* scale, double limit, double rms, double* error) {
  double off = 0, size = 0, terms = 0;
  for (size_t k = 0; k < want.size(); ++k) {
    if (want[k] == got[k] || (std::isnan(want[k]) && std::isnan(got[k]))) {
      if (std::isfinite(want[k])) size += want[k] * want[k];
      continue;
    }
    if (!std::isfinite(want[k]) || !std::isfinite(got[k])) {
      return fmt::format("{}[{}] is {}, expected {}", what, k, got[k], want[k]);
    }
    const double of = scale ? (*scale)[k] : std::fabs(want[k]), distance = std::fabs(want[k] - got[k]);
    off += distance * distance;
    size += want[k] * want[k];
    terms += of * of;
    if (rms > 0) continue;
    if (!(distance <= limit * of + 1e-44)) {
      return fmt::format("{}[{}] is {}, exactly {}: off by {:.3g} times its limit", what, k, got[k], want[k],
                         distance / (limit * of));
    }
    if (limit * of > 0) *error = std::max(*error, distance / (limit * of));
  }
  if (rms == 0 || off == 0) return {};
  // Few numbers may all be small by chance; those are held against the size of their terms.
  const double relative = std::sqrt(off / (want.size() > kFew ? size : std::max(size, terms)));
  *error = std::max(*error, relative / rms);
  if (relative <= rms) return {};
  return fmt::format("{}: the RMS-relative error is {:.3g}, allowed is {:.3g}", what, relative, rms);
}

std::vector<double> expected(const Case& c, size_t output, bool nan) {
  std::vector<double> want = c.out[output].exact;
  if (!nan || output != 0) return want;
  const uint64_t at = Builder::nan_at(c);
  if (c.nan == NanReach::kElement) {
    want[at] = std::nan("");
    return want;
  }
  const uint64_t width = c.out[0].dims.back(), row = at / Builder::first_by_row(c)->dims.back();
  std::fill_n(want.begin() + static_cast<std::ptrdiff_t>(row * width), width, std::nan(""));
  return want;
}

}  // namespace

std::string Form::text() const {
  std::string out = apart ? "views with gaps between elements" : strided ? "strided views" : "plain";
  if (padded) out += ", padded";
  if (nan) out += ", a NaN";
  if (in_place >= 0) out += fmt::format(", in place of input {}", in_place);
  return out;
}

bool fits(const Case& c, const Form& form) {
  const bool rows = step_rows(c) > 0;
  if (form.strided && std::none_of(c.in.begin(), c.in.end(), can_be_strided)) return false;
  if (form.padded && !rows) return false;
  if (form.nan && (c.nan == NanReach::kNotAsked || !rows)) return false;
  return true;
}

Answer ask_support(Device& device, uint32_t numerics, const Case& c, brim_support* out) {
  const Built built = Builder(c, {}).build();
  const Image image(built.net, Strides{});
  return device.layer().support(device.handle(), image.graph(), 1, numerics, out);
}

Outcome run_case(Device& device, uint32_t numerics, const Case& c, const Form& form) {
  Outcome outcome;
  const Built built = Builder(c, form).build();
  const std::string name =
      fmt::format("{} {} {}, {} ({}, {})", op_name(c.op), brim_dtype_name(c.dtype), feature_names(c.op, c.must), c.name,
                  numerics == BRIM_NUMERICS_STRICT ? "strict" : "fast", form.text());
  const brim_op_caps* caps = device.layer().caps_of(c.op);
  if (caps == nullptr || caps->max_rev < 1 || (c.must & ~caps->features) != 0) return outcome;
  brim_state_layout layout{};
  if (!c.state.empty()) {
    const Answer stored = device.layer().state_layout(device.handle(), c.state[0].desc, c.state[0].dtype, &layout);
    if (stored.status == BRIM_UNSUPPORTED) return outcome;
    must(device.trial(), "state_layout", stored);
  }
  const Image image(built.net, Strides{});
  brim_support support{};
  must(device.trial(), "support", device.layer().support(device.handle(), image.graph(), 1, numerics, &support));
  outcome.level = support.level;
  outcome.in_place = support.in_place;
  if (support.level == BRIM_SUPPORT_IF_CONTIGUOUS &&
      (support.need_contiguous == 0 || (support.need_contiguous & ~built.strided) != 0)) {
    outcome.finding = fmt::format("{}: IF_CONTIGUOUS with need_contiguous {:#x}; strided are the inputs {:#x}", name,
                                  support.need_contiguous, built.strided);
  }
  if (support.level != BRIM_SUPPORT_YES) return outcome;

  Setup setup;
  setup.bucket = built.bucket;
  setup.numerics = numerics;
  setup.nodes = {1};
  if (!c.state.empty()) {
    setup.kv_dtype = c.state[0].dtype;
    setup.n_blocks = 2;
    for (const Sequence& s : c.state[0].sequences) setup.n_blocks += 2 + s.length / std::max(1u, layout.block_tokens);
  }
  if (form.in_place >= 0) setup.storage[built.out[0]] = built.in[static_cast<size_t>(form.in_place)];
  Answer created;
  Program program(device, built.net, setup, nullptr, &created);
  if (!program.created()) {
    outcome.finding = fmt::format("{}: support said YES, and no program could be made: {}", name, created.text());
    return outcome;
  }
  Step step;
  std::unique_ptr<States> states;
  if (c.state.empty()) {
    step.sequences.emplace_back().count = setup.bucket.n_tokens > 1 ? built.rows : 1;
    step.output_rows = {0};
  } else {
    states = std::make_unique<States>(device, program, c);
    states->fill();
    step = states->step;
  }
  if (const Answer ran = program.run(step); !ran.ok()) {
    outcome.finding = fmt::format("{}: program_run: {}", name, ran.text());
    return outcome;
  }
  program.inspect(name.c_str());
  const bool strict = numerics == BRIM_NUMERICS_STRICT;
  for (size_t i = 0; i < c.out.size() && outcome.finding.empty(); ++i) {
    const bool shared = i == 0 && form.in_place >= 0;
    const Buffer& buffer = program.of(shared ? built.in[static_cast<size_t>(form.in_place)] : built.out[i]);
    const double rms = strict || c.limit == 0 || c.out[i].dtype == BRIM_DTYPE_I32 ? 0 : c.fast_rms;
    const std::string wrong = judge(fmt::format("output {}", i), expected(c, i, form.nan),
                                    decoded(buffer, c.out[i].dtype, c.out[i].exact.size()),
                                    i == 0 && !c.scale.empty() ? &c.scale : nullptr, c.limit, rms, &outcome.error);
    if (!wrong.empty()) outcome.finding = name + ": " + wrong;
  }
  if (states && c.state[0].written) {
    const StateOfCase& state = c.state[0];
    for (size_t i = 0; i < state.sequences.size() && outcome.finding.empty(); ++i) {
      const std::vector<float> got = states->read(i, true);
      const std::string wrong = judge(fmt::format("the state of sequence {}", i), state.sequences[i].after,
                                      {got.begin(), got.end()}, state.scale.empty() ? nullptr : &state.scale[i],
                                      strict ? state.limit : state.fast_limit, 0, &outcome.error);
      if (!wrong.empty()) outcome.finding = name + ": " + wrong;
    }
    if (outcome.finding.empty() && !states->read_slots_kept()) {
      outcome.finding = name + ": the slot that state_read names was written";
    }
  }
  return outcome;
}

}  // namespace check::ops
