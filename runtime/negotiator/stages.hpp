// The stages of planning, in their order. Each fills its part of the plan from what the ones before it decided, and
// writes down why. planner.cpp calls them; nobody else does.
#pragma once

#include <negotiator/plan.hpp>

namespace brim::negotiator {

// Fills in what the request left open. Throws INVALID_ARGUMENT for what contradicts itself or the model.
void resolve_defaults(Plan& plan);

// Chooses a device for every layer and node, builds and partitions the graphs, gives every state its device.
void place_nodes(Plan& plan);

// Gives every state its layout and group, and every weight its residence on each device that uses it.
void place_bytes(Plan& plan);

// Asks the backends what the programs of every bucket need.
void measure_programs(Plan& plan);

// Adds everything up per pool and refuses what does not fit, saying what would.
void charge_pools(Plan& plan);

// Bytes of KV and other states in all, for another context size or dtype: what charge_pools proposes from.
uint64_t state_bytes(const Plan& plan, uint32_t n_ctx, uint32_t kv_dtype);

// "1.23 GB": decimal units, three digits.
std::string bytes_text(uint64_t bytes);

}  // namespace brim::negotiator
