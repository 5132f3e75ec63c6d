// The topology and the loader's candidates as members of a JSON object, for brim_runtime_report and for people:
//   {"plugins": [{id, kind, version, manifest, library, reason}],
//    "devices": [{plugin, index, name, type, live, driver, architecture, numa_node, uuid, pci, same_as, same_because,
//                 class, class_because, described, assumed, heaps: [{pool, flags, bytes, available, alignment,
//                 max_alloc, read_bandwidth, write_bandwidth}]}],
//    "pools":   [{id, name, bytes, available, read_bandwidth, limited_by, class, budget, reserve, floor,
//                 nominal_bandwidth, bandwidth_from, binding, readings: [{kind, name, bytes, of, bounds, note}]}],
//    "links":   [{device, pool, coherent, noncoherent, bandwidth, latency_ns, bandwidth_from, host_coherent}],
//    "memory_pressure": {some, all}, percent of the last 10 s in which some or all tasks waited for memory, or null,
//    "described_by": the file or name that replaced detection, "" of this machine,
//    "refused": [{id, reason} and, of candidates, what plugins have]}
// device, pool, same_as and binding (of readings) are indices; absent uuid, pci, same_as and binding are null.
// Bytes and bytes/s are numbers, ids are hexadecimal text, 0 of a bandwidth means unknown.
#pragma once

#include <base/json.hpp>
#include <loader/loader.hpp>
#include <topology/topology.hpp>

namespace brim::topology {

void report(Json& json, const loader::Loader& loader, const Topology& topology);

}  // namespace brim::topology
