// Runs a case on a device in one of its forms, and judges what came out. Inputs that are no weights stand in the graph
// as made by an op that is not this program's to run, the way a value comes from another device; memory that nobody has
// written is NaN.
#pragma once

#include "../bench/program.hpp"
#include "case.hpp"

namespace check::ops {

struct Form {
  bool strided = false;  // F32 inputs that are no weights are views with gaps of NaN between rows and before the first,
                         // of COPY between the elements too
  bool apart = false;    // with strided: gaps between the elements of every op
  bool padded = false;   // the step's bucket is larger than the step; rows behind it are NaN
  bool nan = false;      // one number of the first input by rows is NaN
  int32_t in_place = -1;  // output 0 lies in this input's storage
  std::string text() const;
};
// Whether the case can take the form at all. A case with a state is always by rows of the step.
bool fits(const Case& c, const Form& form);

struct Outcome {
  uint32_t level = BRIM_SUPPORT_NONE;  // as `support` answered; what is not YES did not run
  uint32_t in_place = 0;
  double error = 0;     // the largest, as a part of its limit
  std::string finding;  // empty: right
};
// What `support` says of the case's node, plain; nothing runs.
Answer ask_support(Device& device, uint32_t numerics, const Case& c, brim_support* out);
Outcome run_case(Device& device, uint32_t numerics, const Case& c, const Form& form);

// "MATMUL", and the names of feature bits, "BIAS+HEADS"; "-" for none.
std::string op_name(uint32_t op);
std::string feature_names(uint32_t op, uint64_t must);

}  // namespace check::ops
