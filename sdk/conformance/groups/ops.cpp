// ops: every op with text in ops.h, in both numerics, on weights and states of every type, with every feature bit,
// against float64. Each case comes in several forms (ops/run.hpp). What a backend does not take is listed in the
// support table and is no failure; what it takes has to be right.
#include <algorithm>
#include <map>

#include "../bench/blocks.hpp"
#include "../ops/run.hpp"
#include "groups.hpp"

namespace check {
namespace {

using ops::Case;
using ops::Cases;
using ops::Form;
using ops::Outcome;

// A row of the support table as it gathers.
struct Tally {
  uint32_t cases = 0, taken = 0, strided = 0, strided_taken = 0;
  double error = 0;

  const char* support() const {
    if (taken == 0) return "no";
    if (taken < cases) return "some";
    return strided_taken == strided ? "yes" : "if-contiguous";
  }
};

class Table {
 public:
  Tally& of(const Case& c, uint32_t numerics) {
    const std::string key =
        fmt::format("{},{},{},{}", ops::op_name(c.op), brim_dtype_name(c.dtype), ops::feature_names(c.op, c.must),
                    numerics == BRIM_NUMERICS_STRICT ? "strict" : "fast");
    const auto [at, fresh] = rows_.try_emplace(key);
    if (fresh) order_.push_back(key);
    return at->second;
  }
  void report(Trial& trial) const {
    for (const std::string& key : order_) {
      const Tally& row = rows_.at(key);
      trial.support(fmt::format("{},{},{:.3g},{}", key, row.support(), row.error, row.cases));
    }
  }

 private:
  std::map<std::string, Tally> rows_;
  std::vector<std::string> order_;
};

void hold_case(Device& device, uint32_t numerics, const Case& c, Tally& row) {
  Trial& trial = device.trial();
  const auto run = [&](const Form& form) {
    const Outcome outcome = ops::run_case(device, numerics, c, form);
    if (!outcome.finding.empty()) trial.fail("{}", outcome.finding);
    row.error = std::max(row.error, outcome.error);
    return outcome;
  };
  ++row.cases;
  const Outcome plain = run({});
  if (plain.level != BRIM_SUPPORT_YES) return;
  ++row.taken;
  for (const bool padded : {false, true}) {
    const Form strided{.strided = true, .padded = padded};
    if (!ops::fits(c, strided)) continue;
    ++row.strided;
    row.strided_taken += run(strided).level == BRIM_SUPPORT_YES;
  }
  for (const Form& form : {Form{.strided = true, .apart = true}, Form{.padded = true}, Form{.nan = true},
                           Form{.padded = true, .nan = true}}) {
    if (ops::fits(c, form)) run(form);
  }
  for (uint32_t i = 0; i < 32; ++i) {
    if ((plain.in_place >> i & 1) == 0) continue;
    const bool fits = i < c.in.size() && c.in[i].dims == c.out[0].dims && c.in[i].dtype == c.out[0].dtype;
    if (!trial.expect(fits, "{} ({}): in_place names input {}, which is not of output 0's shape and dtype",
                      ops::op_name(c.op), c.name, i)) {
      continue;
    }
    if (!c.in[i].weight) run({.in_place = static_cast<int32_t>(i)});
  }
}

template <uint32_t op, void (*add)(ops::Maker&, Cases&)>
void hold(Trial& trial) {
  Device device(trial);
  ops::Maker make(trial.random());
  Cases cases;
  add(make, cases);
  std::erase_if(cases, [](const Case& c) { return c.op != op; });
  Table table;
  size_t taken = 0;
  for (const uint32_t numerics : {BRIM_NUMERICS_STRICT, BRIM_NUMERICS_FAST}) {
    for (const Case& c : cases) {
      Tally& row = table.of(c, numerics);
      const uint32_t before = row.taken;
      hold_case(device, numerics, c, row);
      taken += row.taken - before;
    }
  }
  table.report(trial);
  if (taken == 0) trial.skip("the op is not offered");
  trial.note("{} of {} cases taken", taken, 2 * cases.size());
}

// A table of more than 2^31 elements and 2^32 bytes, of which only pages that are used exist.
void far_offsets(Trial& trial) {
  Device device(trial);
  constexpr uint32_t kWidth = 32, kRows = (1u << 26) + 8;
  constexpr uint64_t kBytes = uint64_t{kRows} * kWidth * 2;
  if (device.info().max_binding < kBytes) trial.skip("max_binding is {} bytes", device.info().max_binding);
  Net net;
  const brim_value table = net.weight({fixed(kRows), fixed(kWidth)}, BRIM_DTYPE_F16, {});
  const std::vector<int32_t> rows = {0, static_cast<int32_t>(kRows - 1), (1 << 26) - 1, (1 << 26) + 3, 1 << 25};
  const ops::Tensor index = ops::ints({5}, rows);
  const brim_value gathered = net.temp({fixed(5), fixed(kWidth)}), copied = net.temp({fixed(2), fixed(kWidth)});
  net.node(BRIM_OP_GATHER_ROWS, {table, net.weight({fixed(5)}, BRIM_DTYPE_I32, index.bytes)}, {gathered});
  brim_copy_attr attr{};
  attr.dtype = BRIM_DTYPE_F32;
  const brim_value far =
      net.view(table, {fixed(2), fixed(kWidth)}, {fixed(4 * kWidth), fixed(1)}, (uint64_t{1} << 31) + 3 * kWidth);
  net.node(BRIM_OP_COPY, {far}, {copied}, attr);
  std::string why;
  if (!supported(device, net, BRIM_NUMERICS_STRICT, &why)) trial.skip("{}", why);

  auto* memory = static_cast<uint16_t*>(os::map_pages(kBytes));
  if (memory == nullptr) trial.skip("this system gives no {} bytes of address space", kBytes);
  const auto value = [](uint32_t row, uint32_t column) { return static_cast<float>(row % 61 * 32 + column); };
  for (const uint32_t row : {0u, kRows - 1, (1u << 26) - 1, (1u << 26) + 3, 1u << 25, (1u << 26) + 7}) {
    for (uint32_t i = 0; i < kWidth; ++i) memory[uint64_t{row} * kWidth + i] = to_half(value(row, i));
  }
  brim_buffer* imported = nullptr;
  const Answer answer = device.layer().buffer_import(device.handle(), memory, kBytes, true, &imported);
  if (!answer.ok()) trial.skip("the device cannot use the host's memory in place: {}", answer.text());
  {
    Setup setup;
    setup.given[table] = imported;
    Program program(device, net, setup);
    Step step;
    step.sequences.emplace_back();
    must(trial, "program_run", program.run(step));
    const auto hold_row = [&](const char* op, const std::vector<float>& got, size_t at, uint32_t row) {
      for (uint32_t i = 0; i < kWidth; ++i) {
        if (got[at * kWidth + i] == value(row, i)) continue;
        trial.fail("{}: element {} of row {} of {} rows of {} is {}, expected {}: offsets beyond 2^31 elements", op, i,
                   row, kRows, kWidth, got[at * kWidth + i], value(row, i));
        return;
      }
    };
    for (size_t i = 0; i < rows.size(); ++i) {
      hold_row("GATHER_ROWS", program.floats(gathered, 5 * kWidth), i, static_cast<uint32_t>(rows[i]));
    }
    for (uint32_t i = 0; i < 2; ++i) {
      hold_row("COPY", program.floats(copied, 2 * kWidth), i, (1u << 26) + 3 + 4 * i);
    }
    program.inspect("offsets beyond 2^31 elements");
  }
  device.layer().buffer_free(imported);
  os::unmap_pages(memory, kBytes);
}

}  // namespace

void add_op_tests(std::vector<Test>& tests) {
  constexpr double kSeconds = 900;  // under emulation, too
  const auto op = [&](const char* name, void (*run)(Trial&)) {
    tests.push_back({name, "agrees with float64 in every form, strict and fast", kBackends, kSeconds, run});
  };
  op("ops.matmul", hold<BRIM_OP_MATMUL, ops::add_products>);
  op("ops.grouped-matmul", hold<BRIM_OP_GROUPED_MATMUL, ops::add_products>);
  op("ops.unary", hold<BRIM_OP_UNARY, ops::add_elementwise>);
  op("ops.binary", hold<BRIM_OP_BINARY, ops::add_elementwise>);
  op("ops.affine-clamp", hold<BRIM_OP_AFFINE_CLAMP, ops::add_elementwise>);
  op("ops.glu", hold<BRIM_OP_GLU, ops::add_elementwise>);
  op("ops.softmax", hold<BRIM_OP_SOFTMAX, ops::add_norms>);
  op("ops.rms-norm", hold<BRIM_OP_RMS_NORM, ops::add_norms>);
  op("ops.layer-norm", hold<BRIM_OP_LAYER_NORM, ops::add_norms>);
  op("ops.l2-norm", hold<BRIM_OP_L2_NORM, ops::add_norms>);
  op("ops.argmax", hold<BRIM_OP_ARGMAX, ops::add_selection>);
  op("ops.topk", hold<BRIM_OP_TOPK, ops::add_selection>);
  op("ops.moe-route", hold<BRIM_OP_MOE_ROUTE, ops::add_selection>);
  op("ops.moe-combine", hold<BRIM_OP_MOE_COMBINE, ops::add_selection>);
  op("ops.copy", hold<BRIM_OP_COPY, ops::add_movement>);
  op("ops.concat", hold<BRIM_OP_CONCAT, ops::add_movement>);
  op("ops.gather-rows", hold<BRIM_OP_GATHER_ROWS, ops::add_movement>);
  op("ops.scatter-rows", hold<BRIM_OP_SCATTER_ROWS, ops::add_movement>);
  op("ops.rope", hold<BRIM_OP_ROPE, ops::add_rotation>);
  op("ops.kv-write", hold<BRIM_OP_KV_WRITE, ops::add_attention>);
  op("ops.attention", hold<BRIM_OP_ATTENTION, ops::add_attention>);
  op("ops.causal-conv1d", hold<BRIM_OP_CAUSAL_CONV1D, ops::add_recurrent>);
  op("ops.linear-attention", hold<BRIM_OP_LINEAR_ATTENTION, ops::add_recurrent>);
  tests.push_back(
      {"ops.far-offsets", "a table of more than 2^31 elements is read at its end", kBackends, kSeconds, far_offsets});
}

}  // namespace check
