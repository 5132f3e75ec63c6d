// Where a step's time goes, by kind of op and weight: nodes of all layers that do the same are one line.
#pragma once

#include <brim/brim.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace cli {

class PerOp {
 public:
  // One step; what it returns is given each node of it.
  std::function<void(const brim_node_time&)> begin_step();
  // Of all steps, longest first: [{op, weight, nodes, ms, share, weight_bytes}], of one step, medians.
  nlohmann::json json() const;
  std::string table(const std::string& title) const;

 private:
  struct Node {
    std::string op, weight;
    uint64_t weight_bytes = 0;
    std::vector<uint64_t> ns;  // by step
  };
  std::vector<Node> nodes_;
};

}  // namespace cli
