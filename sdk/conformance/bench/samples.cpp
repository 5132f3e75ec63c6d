#include "samples.hpp"

#include <algorithm>

namespace check {
namespace {

class Writer {
 public:
  Writer(Net& net, std::mt19937_64& random, uint32_t dtype) : net_(net), random_(random), dtype_(dtype) {}

  brim_value matrix(uint32_t n, uint32_t k) {
    return net_.weight({fixed(n), fixed(k)}, dtype_, random_blocks(dtype_, uint64_t{n} * k, random_));
  }
  brim_value vector(uint32_t n, float around) {
    return net_.weight({fixed(n)}, random_floats(n, random_, 0.1f, around));
  }

  brim_value norm(brim_value x, brim_dim rows, uint32_t width) {
    brim_norm_attr attr{};
    attr.eps = 1e-5f;
    const brim_value y = net_.temp({rows, fixed(width)});
    net_.node(BRIM_OP_RMS_NORM, {x, vector(width, 1)}, {y}, attr);
    return y;
  }
  brim_value matmul(brim_value x, brim_dim rows, uint32_t n, uint32_t k) {
    const brim_value y = net_.temp({rows, fixed(n)});
    net_.node(BRIM_OP_MATMUL, {matrix(n, k), x}, {y});
    return y;
  }
  brim_value add(brim_value a, brim_value b, brim_dim rows, uint32_t width) {
    brim_binary_attr attr{};
    attr.kind = BRIM_BINARY_ADD;
    const brim_value y = net_.temp({rows, fixed(width)});
    net_.node(BRIM_OP_BINARY, {a, b}, {y}, attr);
    return y;
  }
  brim_value feed_forward(brim_value x, brim_dim rows, uint32_t width, uint32_t inner) {
    const brim_value n = norm(x, rows, width);
    const brim_value gate = matmul(n, rows, inner, width), up = matmul(n, rows, inner, width);
    brim_glu_attr attr{};
    attr.kind = BRIM_GLU_SILU;
    const brim_value y = net_.temp({rows, fixed(inner)});
    net_.node(BRIM_OP_GLU, {gate, up}, {y}, attr);
    return add(x, matmul(y, rows, width, inner), rows, width);
  }
  brim_value rope(brim_value x, brim_value position, uint32_t heads, uint32_t d) {
    brim_rope_attr attr{};
    attr.pairing = BRIM_ROPE_ADJACENT;
    attr.n_rot = d;
    attr.base = 10000;
    attr.freq_scale = attr.magnitude = 1;
    const brim_value y = net_.temp({tokens(), fixed(heads), fixed(d)});
    net_.node(BRIM_OP_ROPE, {net_.reshaped(x, {tokens(), fixed(heads), fixed(d)}), position}, {y}, attr);
    return y;
  }

 private:
  Net& net_;
  std::mt19937_64& random_;
  uint32_t dtype_;
};

}  // namespace

Sample decoder(std::mt19937_64& random, uint32_t weight_dtype) {
  constexpr uint32_t kWidth = 64, kHeads = 4, kHeadsKv = 2, kHead = 16, kInner = 96, kVocab = 96;
  Sample s;
  s.name = "decoder";
  s.has_kv = s.per_output = true;
  s.n_vocab = s.width = kVocab;
  Writer w(s.net, random, weight_dtype);
  Net& net = s.net;
  const brim_value table =
      net.weight({fixed(kVocab), fixed(kWidth)}, random_floats(uint64_t{kVocab} * kWidth, random, 0.5f));
  const brim_value position = net.input(BRIM_INPUT_POSITION);
  brim_value x = net.temp({tokens(), fixed(kWidth)});
  net.node(BRIM_OP_GATHER_ROWS, {table, net.input(BRIM_INPUT_TOKEN)}, {x});
  for (uint32_t layer = 0; layer < 2; ++layer) {
    brim_state_desc desc = kv_state(kHeadsKv, kHead, kHead);
    desc.layer = layer;
    const brim_value state = net.state(desc), written = net.next_version(state);
    const brim_value n = w.norm(x, tokens(), kWidth);
    const brim_value q = w.rope(w.matmul(n, tokens(), kHeads * kHead, kWidth), position, kHeads, kHead);
    const brim_value k = w.rope(w.matmul(n, tokens(), kHeadsKv * kHead, kWidth), position, kHeadsKv, kHead);
    const brim_value v =
        net.reshaped(w.matmul(n, tokens(), kHeadsKv * kHead, kWidth), {tokens(), fixed(kHeadsKv), fixed(kHead)});
    net.node(BRIM_OP_KV_WRITE, {state, k, v}, {written});
    brim_attention_attr attr{};
    attr.n_head = kHeads;
    attr.n_head_kv = kHeadsKv;
    attr.scale = 0.25f;
    const brim_value mixed = net.temp({tokens(), fixed(kHeads), fixed(kHead)});
    net.node(BRIM_OP_ATTENTION, {q, written}, {mixed}, attr, BRIM_ATTENTION_CAUSAL);
    const brim_value flat = net.reshaped(mixed, {tokens(), fixed(kHeads * kHead)});
    x = w.add(x, w.matmul(flat, tokens(), kWidth, kHeads * kHead), tokens(), kWidth);
    x = w.feed_forward(x, tokens(), kWidth, kInner);
  }
  const brim_value wanted = net.temp({outputs(), fixed(kWidth)});
  net.node(BRIM_OP_GATHER_ROWS, {x, net.input(BRIM_INPUT_OUTPUT_ROW)}, {wanted});
  const brim_value head = w.matrix(kVocab, kWidth), last = w.norm(wanted, outputs(), kWidth);
  s.result = net.output({outputs(), fixed(kVocab)}, BRIM_OUTPUT_LOGITS);
  net.node(BRIM_OP_MATMUL, {head, last}, {s.result});
  return s;
}

Sample feed_forward(std::mt19937_64& random, uint32_t weight_dtype) {
  constexpr uint32_t kWidth = 64, kInner = 96;
  Sample s;
  s.name = "feed-forward block";
  s.input_width = s.width = kWidth;
  s.input = s.net.embedding(kWidth);
  Writer w(s.net, random, weight_dtype);
  const brim_value x = w.feed_forward(s.input, tokens(), kWidth, kInner);
  brim_binary_attr attr{};
  attr.kind = BRIM_BINARY_MUL;
  s.result = s.net.output({tokens(), fixed(kWidth)});
  s.net.node(BRIM_OP_BINARY, {x, x}, {s.result}, attr);
  return s;
}

Sample single_op(std::mt19937_64&) {
  Sample s;
  s.name = "copy of rows";
  s.input_width = s.width = 40;
  s.input = s.net.embedding(40);
  s.result = s.net.output({tokens(), fixed(40)});
  brim_copy_attr attr{};
  attr.dtype = BRIM_DTYPE_F32;
  s.net.node(BRIM_OP_COPY, {s.input}, {s.result}, attr);
  return s;
}

namespace {

constexpr uint32_t kRowHeads = 2, kRowHead = 16, kRowWidth = kRowHeads * kRowHead;

// K is the row itself, V twice the row; gives the mixed rows plus the row.
void attend(Net& net, brim_value x, uint32_t window, brim_value result) {
  const Dims heads = {tokens(), fixed(kRowHeads), fixed(kRowHead)}, flat = {tokens(), fixed(kRowWidth)};
  brim_binary_attr add{};
  add.kind = BRIM_BINARY_ADD;
  const brim_value twice = net.temp(flat), mixed = net.temp(heads);
  net.node(BRIM_OP_BINARY, {x, x}, {twice}, add);
  const brim_value state = net.state(kv_state(kRowHeads, kRowHead, kRowHead, window)),
                   written = net.next_version(state);
  net.node(BRIM_OP_KV_WRITE, {state, net.reshaped(x, heads), net.reshaped(twice, heads)}, {written});
  brim_attention_attr attr{};
  attr.n_head = attr.n_head_kv = kRowHeads;
  attr.scale = 0.25f;
  attr.window = window;
  net.node(BRIM_OP_ATTENTION, {net.reshaped(x, heads), written}, {mixed}, attr,
           BRIM_ATTENTION_CAUSAL | (window ? BRIM_ATTENTION_SLIDING_WINDOW : 0));
  net.node(BRIM_OP_BINARY, {net.reshaped(mixed, flat), x}, {result}, add);
}

Sample rows_with_kv(const char* name) {
  Sample s;
  s.name = name;
  s.has_kv = true;
  s.input_width = s.width = kRowWidth;
  s.input = s.net.embedding(kRowWidth);
  return s;
}

}  // namespace

Sample attention_only(uint32_t window) {
  Sample s = rows_with_kv(window ? "attention with a window" : "attention");
  s.result = s.net.output({tokens(), fixed(kRowWidth)});
  attend(s.net, s.input, window, s.result);
  return s;
}

Sample two_groups() {
  Sample s = rows_with_kv("attention with and without a window");
  const brim_value between = s.net.temp({tokens(), fixed(kRowWidth)});
  attend(s.net, s.input, 0, between);
  s.result = s.net.output({tokens(), fixed(kRowWidth)});
  attend(s.net, between, 3, s.result);
  return s;
}

Sample convolution(std::mt19937_64& random) {
  constexpr uint32_t kWidth = 32, kTaps = 4;
  Sample s;
  s.name = "causal convolution";
  s.input_width = s.width = kWidth;
  Net& net = s.net;
  s.input = net.embedding(kWidth);
  brim_state_desc desc{};
  desc.struct_size = sizeof(desc);
  desc.kind = BRIM_STATE_CONV;
  desc.elements = (kTaps - 1) * kWidth;
  const brim_value state = net.state(desc), written = net.next_version(state);
  const brim_value weight = net.weight({fixed(kWidth), fixed(kTaps)}, random_floats(uint64_t{kWidth} * kTaps, random));
  s.result = net.output({tokens(), fixed(kWidth)});
  net.node(BRIM_OP_CAUSAL_CONV1D, {s.input, state, weight, 0}, {s.result, written}, brim_conv1d_attr{});
  return s;
}

Sample linear_attention(std::mt19937_64&) {
  constexpr uint32_t kHeads = 2, kHead = 16, kWidth = kHeads * kHead;
  Sample s;
  s.name = "linear attention";
  s.input_width = s.width = kWidth;
  Net& net = s.net;
  s.input = net.embedding(kWidth);
  const Dims heads = {tokens(), fixed(kHeads), fixed(kHead)};
  brim_binary_attr add{};
  add.kind = BRIM_BINARY_ADD;
  const brim_value twice = net.temp({tokens(), fixed(kWidth)}), y = net.temp(heads);
  net.node(BRIM_OP_BINARY, {s.input, s.input}, {twice}, add);
  brim_state_desc desc{};
  desc.struct_size = sizeof(desc);
  desc.kind = BRIM_STATE_RECURRENT;
  desc.elements = kHeads * kHead * kHead;
  const brim_value state = net.state(desc), written = net.next_version(state);
  brim_linear_attention_attr attr{};
  attr.scale = 0.25f;
  const brim_value x = net.reshaped(s.input, heads);
  net.node(BRIM_OP_LINEAR_ATTENTION, {x, x, net.reshaped(twice, heads), 0, 0, state}, {y, written}, attr);
  s.result = net.output({tokens(), fixed(kWidth)});
  net.node(BRIM_OP_BINARY, {net.reshaped(y, {tokens(), fixed(kWidth)}), s.input}, {s.result}, add);
  return s;
}

Sample best_sample(Device& device, uint32_t numerics, bool need_kv) {
  std::mt19937_64& random = device.trial().random();
  std::string why;
  for (Sample sample : {decoder(random), feed_forward(random), single_op(random)}) {
    if (need_kv && !sample.has_kv) continue;
    if (supported(device, sample.net, numerics, &why)) return sample;
  }
  device.trial().skip("none of the sample programs can be built: {}", why.empty() ? "there is no op" : why);
}

uint32_t count_rows(const Step& step) {
  uint32_t rows = 0;
  for (const Rows& sequence : step.sequences) rows += sequence.count;
  return rows;
}

std::vector<uint32_t> result_bits(Program& program, const Sample& sample, const Step& step) {
  const uint64_t rows = sample.per_output ? step.output_rows.size() : count_rows(step);
  std::vector<uint32_t> out(rows * sample.width);
  std::memcpy(out.data(), program.of(sample.result).data(), out.size() * sizeof(uint32_t));
  return out;
}

std::string first_difference(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b, uint32_t width) {
  if (a.size() != b.size()) return fmt::format("{} values against {}", a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;
    float p, q;
    std::memcpy(&p, &a[i], 4);
    std::memcpy(&q, &b[i], 4);
    return fmt::format("row {}, column {}: {} against {}", i / width, i % width, p, q);
  }
  return {};
}

StepMaker::StepMaker(const Program& program, const Sample& sample, uint32_t block_tokens, uint32_t n_blocks)
    : sample_(sample), bucket_(program.bucket()), block_tokens_(block_tokens), n_blocks_(n_blocks) {}

Step StepMaker::one(uint32_t rows, uint32_t length_after) const {
  Step step;
  Rows& r = step.sequences.emplace_back();
  r.count = rows;
  r.length_after = length_after;
  for (uint32_t b = 0; b * block_tokens_ < length_after; ++b) r.blocks.push_back(b % n_blocks_);
  for (uint32_t i = 0; i < rows; ++i) {
    step.tokens.push_back(sample_.n_vocab ? static_cast<int32_t>((length_after * 7 + i * 13) % sample_.n_vocab) : 0);
  }
  for (uint32_t i = rows - std::min(rows, bucket_.n_outputs); i < rows; ++i) {
    step.output_rows.push_back(static_cast<int32_t>(i));
  }
  return step;
}

Step StepMaker::random_step(std::mt19937_64& random) const {
  Step step;
  const auto pick = [&](uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(random() % (uint64_t{high} - low + 1));
  };
  const uint32_t total = pick(1, bucket_.n_tokens), seqs = pick(1, std::min(bucket_.n_seqs, total));
  uint32_t left = total, block = pick(0, n_blocks_ - 1);
  for (uint32_t s = 0; s < seqs; ++s) {
    Rows r;
    r.count = s + 1 == seqs ? left : pick(1, left - (seqs - s - 1));
    r.count = std::min(r.count, bucket_.n_kv);
    left -= r.count;
    r.length_after = r.count;
    for (uint32_t b = 0; b * block_tokens_ < r.length_after; ++b) r.blocks.push_back(block++ % n_blocks_);
    step.sequences.push_back(std::move(r));
  }
  const uint32_t rows = count_rows(step);
  for (uint32_t i = 0; i < rows; ++i) {
    step.tokens.push_back(sample_.n_vocab ? static_cast<int32_t>(random() % sample_.n_vocab) : 0);
  }
  const uint32_t wanted = pick(1, std::min(rows, bucket_.n_outputs));
  for (uint32_t i = 0; i < wanted; ++i) step.output_rows.push_back(static_cast<int32_t>(pick(0, rows - 1)));
  return step;
}

void StepMaker::set_input(Program& program, const Step& step, uint64_t seed, float padding) const {
  if (sample_.input == 0) return;
  std::mt19937_64 random(seed);
  std::vector<float> values = random_floats(uint64_t{count_rows(step)} * sample_.input_width, random);
  values.resize(uint64_t{bucket_.n_tokens} * sample_.input_width, padding);
  program.set(sample_.input, values);
}

}  // namespace check
