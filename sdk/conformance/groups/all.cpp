#include "groups.hpp"

namespace check {

const std::vector<Test>& all_tests() {
  static const std::vector<Test> tests = [] {
    std::vector<Test> all;
    add_load_tests(all);
    add_contract_tests(all);
    add_buffer_tests(all);
    add_program_tests(all);
    add_state_tests(all);
    add_fault_tests(all);
    add_race_tests(all);
    add_op_tests(all);
    add_honesty_tests(all);
    add_architecture_tests(all);
    return all;
  }();
  return tests;
}

}  // namespace check
