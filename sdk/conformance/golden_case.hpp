// A reference case as it lies in a folder: case.json with the token plan, a model file, and the outputs to compare
// with. Reading checks what the runner relies on: lists of one length, rows that add up, names that are known.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace check {

struct GoldenRow {
  int32_t token = 0, position = 0;
  uint32_t sequence = 0;
  bool out = false;
};
struct GoldenBatch {
  std::string op;  // "decode", "encode", "decode_embd"
  std::vector<GoldenRow> rows;
};
struct GoldenRun {
  std::string name;
  std::string kind;  // "logits", "tokens", "pooled", "rank"
  std::vector<GoldenBatch> batches;
  size_t first_row = 0, rows = 0;  // of the outputs
};

// Largest values that still hold; a limit that is absent is not judged.
struct GoldenLimits {
  std::optional<double> max_abs, rel_rms, kl_max;
  std::map<std::string, double> runs;  // max_abs of runs with a limit of their own
};

struct GoldenCase {
  std::string folder, name, model, kind;
  size_t rows = 0, width = 0;
  std::vector<GoldenRun> runs;
  std::map<std::string, GoldenLimits> limits;  // "exact", "quantised_activations"
};

// BadInput names file and what is wrong with it.
GoldenCase read_case(const std::string& folder);

// rows * width values of a file in the case's folder; nothing where there is no such file. BadInput where it has
// another size.
std::optional<std::vector<float>> read_outputs(const GoldenCase& golden, const std::string& file);
void write_outputs(const std::string& path, const std::vector<float>& values);

}  // namespace check
