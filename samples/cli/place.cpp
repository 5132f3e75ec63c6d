#include "place.hpp"

#include <algorithm>

#include "host.hpp"

namespace cli {

namespace {

// The memory that a device computes from: of its heap that is its own, else of its first.
uint32_t own_pool(const nlohmann::json& device) {
  const auto& heaps = device.at("heaps");
  for (const auto& heap : heaps) {
    const auto& flags = heap.at("flags");
    if (std::find(flags.begin(), flags.end(), "device_local") != flags.end()) return heap.at("pool");
  }
  return heaps.at(0).at("pool");
}

}  // namespace

Place place_of(const nlohmann::json& report, const nlohmann::json& plan) {
  const auto& devices = report.at("devices");
  const auto& computing = plan.at("devices");
  Place out;
  std::vector<std::string> named;
  for (const auto& part : computing) {
    const auto& device = devices.at(part.at("device").get<size_t>());
    out.processors = out.processors || text_of(device, "class") == "cpu";
    const std::string backend = text_of(device, "plugin");
    if (std::find(named.begin(), named.end(), backend) != named.end()) continue;
    out.backends += (named.empty() ? "" : " + ") + backend;
    named.push_back(backend);
  }
  out.alone = computing.size() == 1;
  if (!out.alone) return out;
  const uint32_t index = computing[0].at("device"), pool = own_pool(devices.at(index));
  for (const auto& link : report.at("links")) {
    if (link.at("device") != index || link.at("pool") != pool) continue;
    out.bandwidth = link.value("bandwidth", 0.0);
    out.bandwidth_from = text_of(link, "bandwidth_from");
  }
  // What a share of the data sheet's was taken for is the device's estimate; speeds are held against the whole.
  const double nominal = report.at("pools").at(pool).value("nominal_bandwidth", 0.0);
  if (nominal > 0 && out.bandwidth_from != "probe" && out.bandwidth_from != "described") {
    out.bandwidth = nominal;
    out.bandwidth_from = "data sheet";
  }
  if (out.bandwidth <= 0) out.bandwidth_from.clear();
  return out;
}

}  // namespace cli
