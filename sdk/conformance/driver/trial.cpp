#include "trial.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

#include "../os/os.hpp"

namespace check {

Trial::Trial(Target target, const std::string& results)
    : target_(std::move(target)), random_(target_.seed), results_(std::fopen(results.c_str(), "ab"), &std::fclose) {
  if (!results_) throw std::runtime_error("cannot write " + results);
}

void Trial::record(const char* kind, const std::string& text) {
  const os::Uncounted own;
  const std::string about = std::string_view(kind) == "finding" ? os::about() : std::string();
  // A plugin's texts may be no UTF-8.
  const std::string line = nlohmann::json{{kind, about.empty() ? text : text + " (" + about + ")"}}.dump(
                               -1, ' ', false, nlohmann::json::error_handler_t::replace) +
                           "\n";
  const std::lock_guard lock(mutex_);
  std::fwrite(line.data(), 1, line.size(), results_.get());
  std::fflush(results_.get());
}

}  // namespace check
