// Running tests in processes of their own, and what became of them.
#pragma once

#include <string>
#include <vector>

#include "trial.hpp"

namespace check {

enum class Verdict { kPassed, kFailed, kSkipped };

struct Outcome {
  const Test* test = nullptr;
  Verdict verdict = Verdict::kPassed;
  std::vector<std::string> findings;  // of a failed test: what was wrong, in words
  std::vector<std::string> notes;
  std::vector<std::string> support;  // rows of the support table
  std::string skipped;               // why
  double seconds = 0;
};

// In a child of its own: a crash, a hang, or output of the plugin on the standard streams is a finding.
Outcome run_apart(const Test& test, const Target& target);

// In this process, which is such a child.
void run_here(const Test& test, const Target& target, const std::string& results);

// What the library's header says, asked in a child.
struct Identity {
  bool answered = false;
  uint32_t kind = 0;
  std::string id, version, trouble;
};
Identity identify(const Target& target);

}  // namespace check
