// The program's commands, one file each.
#pragma once

#include "options.hpp"

namespace cli {

Command add_run(CLI::App& program);
Command add_show(CLI::App& program);
Command add_plugins(CLI::App& program);
Command add_devices(CLI::App& program);
Command add_plan(CLI::App& program);
Command add_bench(CLI::App& program);
Command add_calibrate(CLI::App& program);
Command add_selftest(CLI::App& program);
Command add_tokenize(CLI::App& program);
Command add_eval(CLI::App& program);
Command add_quantize(CLI::App& program);
Command add_config(CLI::App& program);

}  // namespace cli
