// Each run of a case begins with new sequences. Its batches go in order, each as one step whose rows keep the batch's
// order; the case's sequence numbers are mapped to the session's. A row's position is handed over where it is not the
// row's place in its sequence, so that both ways are exercised. Outputs are taken in the order in which the case stores
// them: one row for each wanted row, of pooled runs one for each sequence.
#include "golden_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace check {

namespace {

constexpr uint32_t kContext = 256, kSequences = 2;  // of every case

uint32_t role_of(const GoldenRun& run) {
  if (run.kind == "logits") return BRIM_OUTPUT_LOGITS;
  if (run.kind == "tokens") return BRIM_OUTPUT_HIDDEN;
  if (run.kind == "pooled") return BRIM_OUTPUT_POOLED;
  throw Unsupported(fmt::format("run {} wants \"{}\", an output that brim.h does not have", run.name, run.kind));
}

// Everything that can be known without running.
uint64_t outputs_of(const GoldenCase& golden) {
  uint64_t out = 0;
  for (const GoldenRun& run : golden.runs) {
    out |= uint64_t{1} << role_of(run);
    for (const GoldenBatch& batch : run.batches) {
      if (batch.op == "encode")
        throw Unsupported(fmt::format("run {} has a step for an encoder, which brim.h does not offer", run.name));
      if (batch.op == "decode_embd") {
        throw Unsupported(fmt::format(
            "run {} feeds rows of token_embd as embeddings; brim.h does not give a tensor's content", run.name));
      }
      if (batch.op != "decode")
        throw Unsupported(fmt::format("run {} has a step of unknown kind \"{}\"", run.name, batch.op));
      for (const GoldenRow& row : batch.rows) {
        if (row.sequence >= kSequences) throw BadInput(fmt::format("run {} uses sequence {}", run.name, row.sequence));
      }
    }
  }
  return out;
}

class Run {
 public:
  Run(brim::Session& session, const GoldenRun& run, size_t width) : session_(session), run_(run), width_(width) {
    for (uint32_t& sequence : sequences_) sequence = session.create_sequence();
  }
  ~Run() {
    for (const uint32_t sequence : sequences_) brim_sequence_remove(session_.get(), sequence, nullptr);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  void append_to(std::vector<float>& out) {
    const size_t before = out.size();
    for (const GoldenBatch& batch : run_.batches) step(batch, out);
    if (out.size() - before != run_.rows * width_) {
      throw BadInput(fmt::format("run {}: its batches ask for {} rows, case.json says {}", run_.name,
                                 (out.size() - before) / width_, run_.rows));
    }
  }

 private:
  void step(const GoldenBatch& batch, std::vector<float>& out) {
    const uint32_t role = role_of(run_);
    std::vector<brim_row> rows(batch.rows.size());
    std::map<uint32_t, size_t> last;  // of each sequence
    for (size_t i = 0; i < rows.size(); ++i) {
      const GoldenRow& from = batch.rows[i];
      rows[i].token = from.token;
      rows[i].sequence = sequences_[from.sequence];
      const auto place = static_cast<int32_t>(lengths_[from.sequence]++);
      if (from.position != place) {
        rows[i].n_position = 1;
        rows[i].position[0] = from.position;
      }
      if (from.out && role != BRIM_OUTPUT_POOLED) rows[i].outputs = uint32_t{1} << role;
      last[from.sequence] = i;
    }
    // A pooled output belongs to a sequence: its last row asks for it. They come back in the order of rows and are
    // stored in the order of sequences.
    std::vector<size_t> asking;
    if (role == BRIM_OUTPUT_POOLED) {
      for (const auto& [sequence, row] : last) {
        rows[row].outputs = uint32_t{1} << role;
        asking.push_back(row);
      }
    } else {
      for (size_t i = 0; i < rows.size(); ++i) {
        if (rows[i].outputs != 0) asking.push_back(i);
      }
    }
    session_.step(rows);
    std::vector<size_t> in_rows = asking;
    std::sort(in_rows.begin(), in_rows.end());
    for (const size_t row : asking) {
      const auto at = static_cast<uint32_t>(std::lower_bound(in_rows.begin(), in_rows.end(), row) - in_rows.begin());
      const auto values = session_.output(role, at);
      if (values.size() != width_) {
        throw BadInput(fmt::format("run {}: an output has {} values, expected {}", run_.name, values.size(), width_));
      }
      out.insert(out.end(), values.begin(), values.end());
    }
  }

  brim::Session& session_;
  const GoldenRun& run_;
  size_t width_;
  uint32_t sequences_[kSequences] = {};
  uint32_t lengths_[kSequences] = {};
};

}  // namespace

std::vector<float> run_case(const GoldenCase& golden, const Bench& bench, const Subject& subject) {
  const uint64_t outputs = outputs_of(golden);
  try {
    brim::Model model(bench.runtime, golden.model);
    if (model.info().architecture_plugin.len == 0) {
      throw Unsupported(fmt::format("no plugin knows the architecture {}", brim::view(model.info().architecture)));
    }
    auto request = brim::sized<brim_plan_request>();
    request.config = bench.config.get();
    request.n_ctx = kContext;
    request.n_seqs = kSequences;
    request.outputs = outputs;
    auto placement = brim::sized<brim_placement>();
    if (!subject.device.empty()) {
      placement.device = find_device(bench.runtime, subject.device);
      placement.n_layers = model.info().n_layers;
      request.placements = &placement;
      request.n_placements = 1;
      request.placement_stride = sizeof placement;
    }
    model.load(brim::Plan(model, request));
    brim::Session session(model);
    std::vector<float> out;
    out.reserve(golden.rows * golden.width);
    for (const GoldenRun& run : golden.runs) Run(session, run, golden.width).append_to(out);
    return out;
  } catch (const brim::Failure& failure) {
    if (failure.code() == BRIM_UNSUPPORTED) throw Unsupported(failure.what());
    throw;
  }
}

}  // namespace check
