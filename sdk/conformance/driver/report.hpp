// What came out, for people and for machines.
#pragma once

#include <string>
#include <vector>

#include "outcome.hpp"

namespace check {

// One line a test: "ok", "FAIL", "skip", name, seconds, and below it what was wrong.
std::string table_line(const Outcome& outcome);
std::string summary_line(const std::vector<Outcome>& outcomes);

// {"plugin", "id", "version", "seed", "tests": [{"name", "verdict", "seconds", "findings", "notes", "skipped"}]}
std::string as_json(const Target& target, const Identity& identity, const std::vector<Outcome>& outcomes);
// op,dtype,features,numerics,support,worst_error,cases: what the backend takes of the op suite, and how far off it was,
// as a part of what is allowed.
std::string as_support_csv(const std::vector<Outcome>& outcomes);
// The format of JUnit's XML as CI systems read it: one testsuite a group.
std::string as_junit(const Target& target, const std::vector<Outcome>& outcomes);

}  // namespace check
