// Which device computes which layers, exactly: the embedding, the layers and the head are one chain of items; each
// device takes at most one run of neighbouring items, in any order of devices, and a mixture's experts may stay with
// another device (the home) while the rest of their layer does not. Among all placements that the pools have room for,
// the one with the least predicted time wins.
//
// Dynamic programming over (border between items, devices used, the last of them). A device's own pool is checked when
// its run is made; what lies in pools that several devices draw from is carried along, and of two partial placements
// the one that is slower and takes no less of any such pool is dropped. Of the experts of a run any subset may be
// apart; items with equal numbers are one class, so subsets are counts per class. Ties go to the placement found first,
// so answers are the same every time. It knows numbers only: who may run what and what that costs is the caller's.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace brim::negotiator {

inline constexpr double kNever = std::numeric_limits<double>::infinity();
inline constexpr uint32_t kNoDevice = 0xffffffffu;

struct ChainItem {
  std::vector<uint64_t> bytes;          // per device: all that the item keeps in the device's pool
  std::vector<double> seconds;          // per device; kNever: the device cannot run it, apart or not
  uint64_t expert_bytes = 0;            // of `bytes`; go to the home's pool where they are apart
  std::vector<double> apart_seconds{};  // per device, with the experts at home and all that crosses
};

struct Chain {
  std::vector<uint32_t> pool;                 // of each device
  std::vector<uint64_t> base;                 // per device: bytes of its pool that its taking part costs
  std::vector<uint64_t> room;                 // of each pool
  std::vector<std::vector<double>> crossing;  // seconds from device to device
  uint32_t home = kNoDevice;                  // where experts apart are computed; its base counts as soon as one is
  std::vector<ChainItem> items;
};

struct ChainPlan {
  std::vector<uint32_t> device;  // per item
  std::vector<bool> apart;       // per item
  double seconds = 0;
};

// Nothing where no placement fits.
std::optional<ChainPlan> solve(const Chain& chain);

// What a given placement takes; kNever where a pool is too small or a device cannot run its part.
double seconds_of(const Chain& chain, const std::vector<uint32_t>& device, const std::vector<bool>& apart);

}  // namespace brim::negotiator
