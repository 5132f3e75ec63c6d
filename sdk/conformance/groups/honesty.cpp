// honesty: what `support` says is what happens. Random graphs of nodes that it takes have to become programs, run, and
// give what the same nodes give one by one, each as a program of its own (group ops holds those against float64); what
// nobody can know has to be NONE.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "../bench/blocks.hpp"
#include "../bench/samples.hpp"
#include "../ops/run.hpp"
#include "groups.hpp"

namespace check {
namespace {

constexpr uint32_t kTokens = 9, kRows = 7;  // of the bucket, of the step: 4 of one sequence and 3 of another
constexpr uint32_t kBlocks = 8;

struct Piece {
  brim_value value;  // f32 [T, width]
  uint32_t width;
};

// Grows a graph by one random node after the other; a node that the device does not take is taken back.
class Grower {
 public:
  Grower(Device& device, uint32_t numerics) : device_(device), random_(device.trial().random()), numerics_(numerics) {
    const uint32_t width = pick({32, 64, 96, 256});
    input = net.embedding(width);
    pool_ = {{input, width}};
    position_ = net.input(BRIM_INPUT_POSITION);
  }

  void grow(uint32_t nodes) {
    using Growth = void (Grower::*)();
    std::vector<Growth> kinds = {&Grower::norm,   &Grower::product, &Grower::product, &Grower::unary, &Grower::binary,
                                 &Grower::affine, &Grower::glu,     &Grower::softmax, &Grower::join,  &Grower::part,
                                 &Grower::rotate, &Grower::attend,  &Grower::by_heads};
    // A choice may fall otherwise where numbers are rounded otherwise.
    if (numerics_ == BRIM_NUMERICS_STRICT) kinds.push_back(&Grower::mixture);
    for (uint32_t i = 0; i < 4 * nodes && net.nodes.size() < nodes; ++i) {
      const Net before = net;
      const std::vector<Piece> pool = pool_;
      (this->*kinds[random_() % kinds.size()])();
      if (taken(before.nodes.size())) continue;
      net = before;
      pool_ = pool;
    }
    brim_binary_attr attr{};
    attr.kind = BRIM_BINARY_ADD;
    const Net before = net;
    const Piece last = pool_.back();
    output = net.output({tokens(), fixed(last.width)});
    width = last.width;
    net.node(BRIM_OP_BINARY, {last.value, last.value}, {output}, attr);
    if (taken(before.nodes.size())) return;
    brim_copy_attr copy{};
    copy.dtype = BRIM_DTYPE_F32;
    net = before;
    output = net.output({tokens(), fixed(last.width)});
    net.node(BRIM_OP_COPY, {last.value}, {output}, copy);
    whole = taken(before.nodes.size());
  }

  Net net;
  brim_value input, output = 0;
  uint32_t width = 0;
  bool whole = true;  // the last node, which makes the output, was taken, too
  std::string ops;    // their numbers, for reports

 private:
  uint32_t pick(const std::vector<uint32_t>& of) { return of[random_() % of.size()]; }
  Piece any() { return random_() % 4 ? pool_.back() : pool_[random_() % pool_.size()]; }
  brim_value vector(uint32_t n, float around = 0) {
    return net.weight({fixed(n)}, random_floats(n, random_, 0.2f, around));
  }
  brim_value matrix(std::vector<uint32_t> dims, uint32_t dtype) {
    uint64_t n = 1;
    Dims shape;
    for (const uint32_t d : dims) {
      n *= d;
      shape.push_back(fixed(d));
    }
    return net.weight(shape, dtype, random_blocks(dtype, n, random_));
  }
  // A type whose rows of `k` values are whole blocks.
  uint32_t dtype_for(uint32_t k) {
    std::vector<uint32_t> fitting;
#define BRIM_X(name, number, spelling, elements, bytes) \
  if (has_blocks(number) && k % (elements) == 0) fitting.push_back(number);
    BRIM_DTYPE_TABLE(BRIM_X)
#undef BRIM_X
    return pick(fitting);
  }
  brim_value made(uint32_t n) {
    const brim_value v = net.temp({tokens(), fixed(n)});
    pool_.push_back({v, n});
    return v;
  }

  bool taken(size_t first) {
    const Image image(net, Strides{});
    for (size_t i = first; i < net.nodes.size(); ++i) {
      const Net::Node& node = net.nodes[i];
      const brim_op_caps* caps = device_.layer().caps_of(node.op);
      brim_support answer{};
      if (caps == nullptr || (node.must & ~caps->features) != 0) return false;
      must(device_.trial(), "support",
           device_.layer().support(device_.handle(), image.graph(), static_cast<uint32_t>(i), numerics_, &answer));
      if (answer.level != BRIM_SUPPORT_YES) return false;
    }
    for (size_t i = first; i < net.nodes.size(); ++i)
      ops += fmt::format("{}{}", ops.empty() ? "" : " ", net.nodes[i].op);
    return true;
  }

  void norm() {
    const Piece x = any();
    brim_norm_attr attr{};
    attr.eps = 1e-5f;
    const uint32_t op = pick({BRIM_OP_RMS_NORM, BRIM_OP_LAYER_NORM, BRIM_OP_L2_NORM});
    std::vector<brim_value> in = {x.value};
    if (op != BRIM_OP_L2_NORM && random_() % 2) in.push_back(vector(x.width, 1));
    if (op == BRIM_OP_LAYER_NORM && in.size() == 2) in.push_back(vector(x.width));
    net.node(op, in, {made(x.width)}, attr);
  }
  void product() {
    const Piece x = any();
    const uint32_t n = pick({32, 64, 96, 128});
    const bool bias = random_() % 3 == 0;
    std::vector<brim_value> in = {matrix({n, x.width}, dtype_for(x.width)), x.value};
    if (bias) in.push_back(vector(n));
    net.node(BRIM_OP_MATMUL, in, {made(n)}, nullptr, bias ? BRIM_MATMUL_BIAS : 0);
  }
  void by_heads() {
    const Piece x = any();
    if (x.width % 32 != 0) return;
    const uint32_t k = 32, heads = x.width / k, n = 16;
    const brim_value rows = net.reshaped(x.value, {tokens(), fixed(heads), fixed(k)});
    const brim_value y = net.temp({tokens(), fixed(heads), fixed(n)});
    net.node(BRIM_OP_MATMUL, {matrix({heads, n, k}, dtype_for(k)), rows}, {y}, nullptr, BRIM_MATMUL_HEADS);
    flat(y, heads * n);
  }
  // [T, h, d] under its flat shape, copied where it goes on.
  void flat(brim_value value, uint32_t width) {
    brim_unary_attr attr{};
    attr.kind = BRIM_UNARY_TANH;
    net.node(BRIM_OP_UNARY, {net.reshaped(value, {tokens(), fixed(width)})}, {made(width)}, attr);
  }
  void unary() {
    const Piece x = any();
    brim_unary_attr attr{};
    attr.kind = pick({BRIM_UNARY_NEG, BRIM_UNARY_ABS, BRIM_UNARY_TANH, BRIM_UNARY_SIGMOID, BRIM_UNARY_SILU,
                      BRIM_UNARY_GELU, BRIM_UNARY_RELU, BRIM_UNARY_SOFTPLUS, BRIM_UNARY_COS});
    net.node(BRIM_OP_UNARY, {x.value}, {made(x.width)}, attr);
  }
  void binary() {
    const Piece a = pool_.back();
    std::vector<brim_value> others;
    for (const Piece& p : pool_) {
      if (p.width == a.width) others.push_back(p.value);
    }
    others.push_back(vector(a.width));
    brim_binary_attr attr{};
    attr.kind = pick({BRIM_BINARY_ADD, BRIM_BINARY_SUB, BRIM_BINARY_MUL, BRIM_BINARY_MAX, BRIM_BINARY_MIN});
    const brim_value b = others[random_() % others.size()];
    net.node(BRIM_OP_BINARY, {a.value, b}, {made(a.width)}, attr);
  }
  void affine() {
    const Piece x = any();
    brim_affine_attr attr{};
    attr.scale = 0.7f;
    attr.bias = 0.1f;
    attr.lo = -8, attr.hi = 8, attr.cap = 3;
    net.node(BRIM_OP_AFFINE_CLAMP, {x.value}, {made(x.width)}, attr, random_() % 2 ? BRIM_AFFINE_SOFTCAP : 0);
  }
  void glu() {
    const Piece x = any();
    if (x.width % 2 != 0) return;
    brim_glu_attr attr{};
    attr.kind = BRIM_GLU_SILU + static_cast<uint32_t>(random_() % 6);
    attr.alpha = 1.7f;
    attr.limit = 5;
    if (random_() % 2) {
      net.node(BRIM_OP_GLU, {x.value}, {made(x.width / 2)}, attr);
    } else {
      net.node(BRIM_OP_GLU, {x.value, x.value}, {made(x.width)}, attr);
    }
  }
  void softmax() {
    const Piece x = any();
    brim_softmax_attr attr{};
    attr.scale = 0.5f;
    net.node(BRIM_OP_SOFTMAX, {x.value}, {made(x.width)}, attr);
  }
  void join() {
    const Piece a = any(), b = any();
    if (a.width + b.width > 256) return;
    brim_concat_attr attr{};
    attr.axis = 1;
    net.node(BRIM_OP_CONCAT, {a.value, b.value}, {made(a.width + b.width)}, attr);
  }
  // The later half of each row, as a view that an op reads.
  void part() {
    const Piece x = any();
    if (x.width < 64) return;
    const uint32_t half = x.width / 2;
    const brim_value later = net.view(x.value, {tokens(), fixed(half)}, {fixed(x.width), fixed(1)}, half);
    brim_unary_attr attr{};
    attr.kind = BRIM_UNARY_SILU;
    net.node(BRIM_OP_UNARY, {later}, {made(half)}, attr);
  }
  brim_value rotated(brim_value x, uint32_t heads) {
    brim_rope_attr attr{};
    attr.pairing = pick({BRIM_ROPE_ADJACENT, BRIM_ROPE_HALVES});
    attr.n_rot = 16;
    attr.base = 10000;
    attr.freq_scale = attr.magnitude = 1;
    const brim_value y = net.temp({tokens(), fixed(heads), fixed(16)});
    net.node(BRIM_OP_ROPE, {net.reshaped(x, {tokens(), fixed(heads), fixed(16)}), position_}, {y}, attr);
    return y;
  }
  void rotate() {
    const Piece x = any();
    if (x.width % 16 != 0) return;
    flat(rotated(x.value, x.width / 16), x.width);
  }
  void attend() {
    const Piece x = any();
    if (x.width % 16 != 0) return;
    const uint32_t heads = x.width / 16, window = random_() % 3 ? 0 : 3;
    const brim_value state = net.state(kv_state(heads, 16, 16)), written = net.next_version(state);
    const brim_value rows = net.reshaped(x.value, {tokens(), fixed(heads), fixed(16)});
    net.node(BRIM_OP_KV_WRITE, {state, rotated(x.value, heads), rows}, {written});
    brim_attention_attr attr{};
    attr.n_head = attr.n_head_kv = heads;
    attr.scale = 0.25f;
    attr.window = window;
    const brim_value mixed = net.temp({tokens(), fixed(heads), fixed(16)});
    net.node(BRIM_OP_ATTENTION, {rows, written}, {mixed}, attr,
             BRIM_ATTENTION_CAUSAL | (window ? BRIM_ATTENTION_SLIDING_WINDOW : 0));
    flat(mixed, x.width);
  }
  void mixture() {
    const Piece x = any();
    constexpr uint32_t kExperts = 6, kUsed = 2;
    brim_moe_route_attr route{};
    route.gate = BRIM_MOE_GATE_SOFTMAX;
    route.k = kUsed;
    route.normalise = 1;
    route.scale = 1;
    const brim_value logits = net.temp({tokens(), fixed(kExperts)}), weight = net.temp({tokens(), fixed(kUsed)}),
                     index = net.temp({tokens(), fixed(kUsed)}, BRIM_DTYPE_I32),
                     parts = net.temp({tokens(), fixed(kUsed), fixed(64)});
    net.node(BRIM_OP_MATMUL, {matrix({kExperts, x.width}, BRIM_DTYPE_F32), x.value}, {logits});
    net.node(BRIM_OP_MOE_ROUTE, {logits}, {weight, index}, route);
    net.node(BRIM_OP_GROUPED_MATMUL, {matrix({kExperts, 64, x.width}, dtype_for(x.width)), x.value, index}, {parts});
    net.node(BRIM_OP_MOE_COMBINE, {parts, weight}, {made(64)});
  }

  Device& device_;
  std::mt19937_64& random_;
  uint32_t numerics_;
  brim_value position_;
  std::vector<Piece> pool_;
};

Step two_sequences() {
  Step step;
  step.sequences.resize(2);
  step.sequences[0].count = step.sequences[0].length_after = 4;
  step.sequences[1].count = step.sequences[1].length_after = 3;
  step.sequences[0].blocks = {3, 0};
  step.sequences[1].blocks = {5, 1};
  step.output_rows = {0};
  return step;
}

// Temps whose last reader has run lend their buffers to later ones, as a host's plan of an arena does.
std::map<brim_value, brim_value> reused_storage(const Net& net, std::mt19937_64& random) {
  const auto root = [&](brim_value v) { return net.values[v].kind == BRIM_VALUE_VIEW ? net.values[v].base : v; };
  std::vector<size_t> last(net.values.size(), 0);
  for (size_t i = 0; i < net.nodes.size(); ++i) {
    for (const brim_value v : net.nodes[i].in) last[root(v)] = i;
    for (const brim_value v : net.nodes[i].out) last[v] = std::max(last[v], i);
  }
  std::map<brim_value, brim_value> out;
  std::vector<brim_value> owners;
  std::map<brim_value, size_t> busy_until;
  for (size_t i = 0; i < net.nodes.size(); ++i) {
    for (const brim_value v : net.nodes[i].out) {
      const brim_value_desc& desc = net.values[v];
      if (desc.kind != BRIM_VALUE_TEMP) continue;
      const auto width = [](const brim_value_desc& d) { return uint64_t{d.dim[1].k} * (d.rank == 3 ? d.dim[2].k : 1); };
      const auto free = std::find_if(owners.begin(), owners.end(), [&](brim_value o) {
        return o < v && busy_until[o] < i && net.values[o].dtype == desc.dtype && width(net.values[o]) == width(desc);
      });
      if (free != owners.end() && random() % 2) {
        out[v] = *free;
        busy_until[*free] = last[v];
      } else {
        owners.push_back(v);
        busy_until[v] = last[v];
      }
    }
  }
  return out;
}

std::vector<float> run_whole(Device& device, const Grower& graph, const Setup& setup, const std::vector<float>& data,
                             const std::string& name) {
  Answer created;
  Program program(device, graph.net, setup, nullptr, &created);
  if (!program.created()) {
    device.trial().fail("{}: support says YES to every node, and no program could be made: {}", name, created.text());
    return {};
  }
  program.set(graph.input, data);
  const Answer ran = program.run(two_sequences());
  if (!device.trial().expect(ran.ok(), "{}: program_run: {}", name, ran.text())) return {};
  program.inspect(name.c_str());
  return program.floats(graph.output, uint64_t{kRows} * graph.width);
}

std::vector<float> run_by_node(Device& device, const Grower& graph, Setup setup, const std::vector<float>& data,
                               const std::string& name) {
  std::map<brim_value, std::vector<std::byte>> values;
  StateStore store(device, graph.net.states, setup.kv_dtype, setup.n_blocks);
  const Net& net = graph.net;
  for (uint32_t i = 0; i < net.nodes.size(); ++i) {
    setup.nodes = {i};
    Answer created;
    Program program(device, net, setup, &store, &created);
    if (!program.created()) {
      device.trial().fail("{}: support says YES to node {} (op {}), and no program could be made of it: {}", name, i,
                          net.nodes[i].op, created.text());
      return {};
    }
    program.set(graph.input, data);
    for (const brim_value v : net.nodes[i].in) {
      const auto known = values.find(v != 0 && net.values[v].kind == BRIM_VALUE_VIEW ? net.values[v].base : v);
      if (known != values.end())
        std::memcpy(program.of(known->first).data(), known->second.data(), known->second.size());
    }
    const Answer ran = program.run(two_sequences());
    if (!device.trial().expect(ran.ok(), "{}: program_run of node {}: {}", name, i, ran.text())) return {};
    for (const brim_value v : net.nodes[i].out) {
      if (net.values[v].kind == BRIM_VALUE_STATE) continue;
      const Buffer& buffer = program.of(v);
      values[v].assign(buffer.data(), buffer.data() + buffer.bytes());
    }
  }
  std::vector<float> out(uint64_t{kRows} * graph.width);
  std::memcpy(out.data(), values.at(graph.output).data(), out.size() * sizeof(float));
  return out;
}

void random_graphs(Trial& trial) {
  Device device(trial);
  uint32_t graphs = 0, nodes = 0;
  double worst = 0;
  for (const uint32_t numerics : {BRIM_NUMERICS_STRICT, BRIM_NUMERICS_FAST}) {
    for (uint32_t n = 0; n < 20; ++n) {
      Grower graph(device, numerics);
      graph.grow(4 + static_cast<uint32_t>(trial.random()() % 14));
      if (!graph.whole) continue;
      const std::string name = fmt::format("random graph {} ({}; ops {})", n,
                                           numerics == BRIM_NUMERICS_STRICT ? "strict" : "fast", graph.ops);
      Setup setup;
      setup.bucket = {sizeof(brim_bucket), kTokens, 3, 1, 16, 1};
      setup.numerics = numerics;
      setup.n_blocks = kBlocks;
      std::vector<float> data = random_floats(uint64_t{kRows} * graph.net.values[graph.input].dim[1].k, trial.random());
      data.resize(uint64_t{kTokens} * graph.net.values[graph.input].dim[1].k, std::nanf(""));
      const std::vector<float> apart = run_by_node(device, graph, setup, data, name);
      setup.storage = reused_storage(graph.net, trial.random());
      const std::vector<float> whole = run_whole(device, graph, setup, data, name);
      if (apart.empty() || whole.empty()) continue;
      ++graphs;
      nodes += static_cast<uint32_t>(graph.net.nodes.size());
      double off = 0, size = 0;
      bool finite = true;
      for (size_t i = 0; i < whole.size(); ++i) {
        const double a = static_cast<double>(apart[i]), b = static_cast<double>(whole[i]);
        finite = finite && std::isfinite(a) == std::isfinite(b);
        if (!std::isfinite(a) || !std::isfinite(b)) continue;
        off += (a - b) * (a - b);
        size += a * a;
      }
      const double error = off == 0 ? 0 : std::sqrt(off / size);
      worst = std::max(worst, error);
      const double limit = numerics == BRIM_NUMERICS_STRICT ? 1e-4 : 5e-2;
      trial.expect(finite && error <= limit,
                   "{}: in one program it gives something else than node by node: RMS-relative difference {:.3g}, "
                   "allowed {:.3g}",
                   name, error, limit);
    }
  }
  if (graphs == 0) trial.skip("no graph can be grown from the ops that are taken");
  trial.note("{} graphs of {} nodes, worst difference {:.2g}", graphs, nodes, worst);
}

// What stands outside of this minor, each put into one node of a graph that is taken as it was.
void unknown(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  const auto refuse = [&](const std::string& what, uint32_t node, const std::function<void(Net&)>& bend) {
    Net net = sample.net;
    bend(net);
    const Image image(net, Strides{});
    brim_support answer{};
    const Answer asked = device.layer().support(device.handle(), image.graph(), node, BRIM_NUMERICS_STRICT, &answer);
    trial.expect(asked.ok() && answer.level == BRIM_SUPPORT_NONE,
                 "support: {} in a node of op {}: expected NONE, found {}", what, sample.net.nodes[node].op,
                 asked.ok() ? std::to_string(answer.level) : asked.text());
    Setup setup;
    setup.nodes = {node};
    Answer created;
    Program program(device, net, setup, nullptr, &created);
    trial.expect(!program.created(), "program_create: makes a program of {} in a node of op {}", what,
                 sample.net.nodes[node].op);
  };
  for (uint32_t i = 0; i < sample.net.nodes.size(); ++i) {
    const Net::Node& node = sample.net.nodes[i];
    const brim_op_caps* caps = device.layer().caps_of(node.op);
    for (const uint32_t bit : {63u, 20u}) {
      if (caps->features >> bit & 1) continue;
      refuse(fmt::format("feature bit {}", bit), i, [&](Net& net) { net.nodes[i].must |= 1ull << bit; });
    }
    for (const uint32_t op : {0u, 200u}) {
      if (device.layer().caps_of(op) == nullptr)
        refuse(fmt::format("op {}", op), i, [&](Net& net) { net.nodes[i].op = op; });
    }
    for (const uint32_t rev : {0u, caps->max_rev + 1}) {
      refuse(fmt::format("revision {}", rev), i, [&](Net& net) { net.nodes[i].rev = rev; });
    }
  }
  // support alone: bytes of a value of unknown type have no length.
  for (uint32_t i = 0; i < sample.net.nodes.size(); ++i) {
    for (const brim_value v : sample.net.nodes[i].in) {
      if (v == 0 || sample.net.values[v].kind == BRIM_VALUE_STATE) continue;
      for (const uint32_t dtype : {0u, 99u, UINT32_MAX}) {
        Net net = sample.net;
        net.values[v].dtype = dtype;
        const Image image(net, Strides{});
        brim_support answer{};
        const Answer asked = device.layer().support(device.handle(), image.graph(), i, BRIM_NUMERICS_STRICT, &answer);
        trial.expect(asked.ok() && answer.level == BRIM_SUPPORT_NONE,
                     "support: an input of dtype {} in a node of op {}: expected NONE, found {}", dtype,
                     sample.net.nodes[i].op, asked.ok() ? std::to_string(answer.level) : asked.text());
      }
    }
  }
}

// Attributes that say what kind of thing the op does, and the last kind that this minor has: later ones may have more.
struct KindField {
  uint32_t op;
  const char* name;
  size_t offset;
  uint32_t last;
};
constexpr KindField kKindFields[] = {
    {BRIM_OP_SCATTER_ROWS, "mode", offsetof(brim_scatter_attr, mode), BRIM_SCATTER_ADD},
    {BRIM_OP_UNARY, "kind", offsetof(brim_unary_attr, kind), BRIM_UNARY_FLOOR},
    {BRIM_OP_BINARY, "kind", offsetof(brim_binary_attr, kind), BRIM_BINARY_POW},
    {BRIM_OP_GLU, "kind", offsetof(brim_glu_attr, kind), BRIM_GLU_SWIGLU_LIMIT},
    {BRIM_OP_MOE_ROUTE, "gate", offsetof(brim_moe_route_attr, gate), BRIM_MOE_GATE_SOFTMAX_CHOSEN},
    {BRIM_OP_ROPE, "pairing", offsetof(brim_rope_attr, pairing), BRIM_ROPE_HALVES},
    {BRIM_OP_CAUSAL_CONV1D, "activation", offsetof(brim_conv1d_attr, activation), BRIM_UNARY_SILU},
};

// Kinds and dtypes that a later minor may bring, in nodes that are taken as they were.
void later_minor(Trial& trial) {
  Device device(trial);
  ops::Maker make(trial.random());
  ops::Cases cases;
  for (auto* add : {ops::add_products, ops::add_elementwise, ops::add_norms, ops::add_selection, ops::add_movement,
                    ops::add_rotation, ops::add_attention, ops::add_recurrent}) {
    add(make, cases);
  }
  const auto ask = [&](const ops::Case& c) {
    brim_support answer{};
    must(trial, "support", ops::ask_support(device, BRIM_NUMERICS_STRICT, c, &answer));
    return answer.level;
  };
  std::set<std::string> taken;
  for (const ops::Case& c : cases) {
    const auto* field =
        std::find_if(std::begin(kKindFields), std::end(kKindFields), [&](const KindField& f) { return f.op == c.op; });
    const brim_op_caps* caps = device.layer().caps_of(c.op);
    if (caps == nullptr || (c.must & ~caps->features) != 0) continue;
    std::string node = fmt::format("{} {}", ops::op_name(c.op), ops::feature_names(c.op, c.must));
    for (const ops::Tensor& t : c.in) node += t.dims.empty() ? "" : fmt::format(" {}D", t.dims.size());
    if (taken.count(node) != 0 || ask(c) != BRIM_SUPPORT_YES) continue;
    taken.insert(node);
    for (size_t i = 0; i < c.in.size(); ++i) {
      if (c.in[i].dims.empty()) continue;
      ops::Case bent = c;
      bent.in[i].dtype = 99;
      bent.in[i].weight = false;
      const uint32_t level = ask(bent);
      trial.expect(level == BRIM_SUPPORT_NONE, "support: input {} of dtype 99 in {}: expected NONE, found {}", i, node,
                   level);
    }
    if (field == std::end(kKindFields)) continue;
    for (const uint32_t kind : {field->last + 1, 10'000u, UINT32_MAX}) {
      ops::Case bent = c;
      std::memcpy(&bent.attr[field->offset], &kind, sizeof(kind));
      const uint32_t level = ask(bent);
      trial.expect(level == BRIM_SUPPORT_NONE, "support: {} {} of {}: expected NONE, found {}", field->name, kind, node,
                   level);
    }
  }
  if (taken.empty()) trial.skip("no op is taken");
  trial.note("{} nodes", taken.size());
}

// Weights that are views of block formats cut within a block: their bytes do not begin anywhere.
void cut_blocks(Trial& trial) {
  Device device(trial);
  constexpr uint32_t kRows = 4, kWidth = 512;
  struct View {
    const char* what;
    uint32_t width, stride, offset;  // elements
  };
  constexpr View kViews[] = {{"that begins within a block", 256, kWidth, 16},
                             {"whose rows end within a block", 240, kWidth, 0},
                             {"whose rows step over half a block", 256, kWidth - 16, 0}};
  uint32_t nodes = 0;
  for (const uint32_t dtype : ops::weight_dtypes()) {
    if (ops::is_plain(dtype)) continue;
    for (const View& view : kViews) {
      Net net;
      const brim_value whole = net.weight({fixed(kRows), fixed(kWidth)}, dtype,
                                          random_blocks(dtype, uint64_t{kRows} * kWidth, trial.random()));
      const brim_value cut =
          net.view(whole, {fixed(kRows), fixed(view.width)}, {fixed(view.stride), fixed(1)}, view.offset);
      brim_copy_attr copy{};
      copy.dtype = BRIM_DTYPE_F32;
      net.node(BRIM_OP_MATMUL, {cut, net.embedding(view.width)}, {net.temp({tokens(), fixed(kRows)})});
      net.node(BRIM_OP_GATHER_ROWS, {cut, net.input(BRIM_INPUT_TOKEN)}, {net.temp({tokens(), fixed(view.width)})});
      net.node(BRIM_OP_COPY, {cut}, {net.temp({fixed(kRows), fixed(view.width)})}, copy);
      const Image image(net, Strides{});
      for (uint32_t i = 0; i < net.nodes.size(); ++i) {
        if (device.layer().caps_of(net.nodes[i].op) == nullptr) continue;
        brim_support answer{};
        must(trial, "support",
             device.layer().support(device.handle(), image.graph(), i, BRIM_NUMERICS_STRICT, &answer));
        ++nodes;
        trial.expect(answer.level != BRIM_SUPPORT_YES, "support: {} of {} {}: YES", ops::op_name(net.nodes[i].op),
                     brim_dtype_name(dtype), view.what);
      }
    }
  }
  if (nodes == 0) trial.skip("no op on weights is offered");
  trial.note("{} nodes", nodes);
}

}  // namespace

void add_honesty_tests(std::vector<Test>& tests) {
  tests.push_back({"honesty.random-graphs", "graphs of supported nodes run, and give what their nodes give one by one",
                   kBackends, 120, random_graphs});
  tests.push_back(
      {"honesty.unknown", "unknown ops, revisions, feature bits and dtypes are NONE", kBackends, 60, unknown});
  tests.push_back({"honesty.later-minor", "kinds and dtypes that an op does not have yet are NONE, for every input",
                   kBackends, 120, later_minor});
  tests.push_back({"honesty.cut-blocks", "views that cut blocks are not taken as they are", kBackends, 60, cut_blocks});
}

}  // namespace check
