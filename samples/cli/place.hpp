// Who computes a plan, and how fast the memory is that its decoding reads from: what speeds are held against.
#pragma once

#include <brim/brim.hpp>
#include <nlohmann/json.hpp>
#include <string>

namespace cli {

struct Place {
  std::string backends;     // "brim.cuda", "brim.cuda + brim.cpu"
  bool processors = false;  // the host's processors compute some of it, so threads mean something
  bool alone = false;       // one device computes all of it: there is one memory to hold its speed against
  // Of that one device's own memory, bytes/s, and who says so: "data sheet", "reported", "described", "probe", "prior".
  // 0 where it is unknown or not alone.
  double bandwidth = 0;
  std::string bandwidth_from;

  bool on_processors() const { return processors && alone; }
};

// From the runtime's report and the plan's explanation.
Place place_of(const nlohmann::json& report, const nlohmann::json& plan);

}  // namespace cli
