// Measured bandwidths kept in a file of the host's choice, so that a machine is measured once: a line each, the bytes/s
// and what they were measured of: device, driver, build, threads. What does not match is measured anew; a file that
// cannot be read or written only costs that time.
#pragma once

#include <string>
#include <topology/topology.hpp>

namespace brim::topology {

// What the system memory's bandwidth depends on: the first processor that is here with its driver, `build` and
// `threads`. Empty where no backend brought one.
std::string probe_key(const Topology& topology, std::string_view build, uint32_t threads);

// Bytes/s; 0 where the file does not know.
double kept_bandwidth(const std::string& path, std::string_view key);
// Puts the line in the place of an older one with that key.
void keep_bandwidth(const std::string& path, std::string_view key, double bytes_per_second);

}  // namespace brim::topology
