// The groups of tests; each file of this folder adds its own.
#pragma once

#include <vector>

#include "../driver/trial.hpp"

namespace check {

void add_load_tests(std::vector<Test>& tests);
void add_architecture_tests(std::vector<Test>& tests);
void add_honesty_tests(std::vector<Test>& tests);
void add_op_tests(std::vector<Test>& tests);
void add_contract_tests(std::vector<Test>& tests);
void add_buffer_tests(std::vector<Test>& tests);
void add_program_tests(std::vector<Test>& tests);
void add_state_tests(std::vector<Test>& tests);
void add_fault_tests(std::vector<Test>& tests);
void add_race_tests(std::vector<Test>& tests);

inline constexpr uint32_t kBackends = 1u << 1, kArchitectures = 1u << 2;

// What the header says, for the parent process; no test of the table.
const Test& identity_test();

}  // namespace check
