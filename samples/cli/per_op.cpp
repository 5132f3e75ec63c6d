#include "per_op.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "words.hpp"

namespace cli {

namespace {

// "blk.3.attn_q.weight" as "blk.*.attn_q.weight".
std::string pattern_of(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size();) {
    const size_t end = std::min(name.find('.', i), name.size());
    const std::string_view part = name.substr(i, end - i);
    const bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    out += number ? std::string_view("*") : part;
    if (end < name.size()) out += '.';
    i = end + 1;
  }
  return out;
}

}  // namespace

std::function<void(const brim_node_time&)> PerOp::begin_step() {
  return [this, i = size_t{0}](const brim_node_time& node) mutable {
    if (i == nodes_.size())
      nodes_.push_back({std::string(brim::view(node.op)), pattern_of(brim::view(node.weight)), node.weight_bytes, {}});
    nodes_[i++].ns.push_back(node.ns);
  };
}

nlohmann::json PerOp::json() const {
  struct Line {
    uint32_t nodes = 0;
    double ns = 0;
    uint64_t weight_bytes = 0;
  };
  std::map<std::pair<std::string, std::string>, Line> lines;
  double all = 0;
  for (const Node& node : nodes_) {
    std::vector<uint64_t> ns = node.ns;
    std::sort(ns.begin(), ns.end());
    const auto median = static_cast<double>(ns[(ns.size() - 1) / 2]);
    Line& line = lines[{node.op, node.weight}];
    ++line.nodes;
    line.ns += median;
    line.weight_bytes += node.weight_bytes;
    all += median;
  }
  std::vector<std::pair<std::pair<std::string, std::string>, Line>> order(lines.begin(), lines.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second.ns > b.second.ns; });
  nlohmann::json out = nlohmann::json::array();
  for (const auto& [what, line] : order) {
    out.push_back({{"op", what.first},
                   {"weight", what.second},
                   {"nodes", line.nodes},
                   {"ms", line.ns / 1e6},
                   {"share", all > 0 ? line.ns / all : 0},
                   {"weight_bytes", line.weight_bytes}});
  }
  return out;
}

std::string PerOp::table(const std::string& title) const {
  std::vector<std::vector<std::string>> rows = {{title, "weight", "nodes", "ms", "share", "GB/s"}};
  double ms = 0;
  for (const auto& line : json()) {
    const double took = line.at("ms");
    const auto bytes = line.at("weight_bytes").get<double>();
    ms += took;
    rows.push_back({line.at("op"), line.at("weight"), std::to_string(line.at("nodes").get<uint32_t>()),
                    fmt::format("{:.3f}", took), fmt::format("{:.1f} %", 100 * line.at("share").get<double>()),
                    bytes > 0 && took > 0 ? fmt::format("{:.1f}", bytes / took / 1e6) : ""});
  }
  rows.push_back({"all, one by one", "", std::to_string(nodes_.size()), fmt::format("{:.3f}", ms), "", ""});
  return table_text(rows, {false, false, true, true, true, true});
}

}  // namespace cli
