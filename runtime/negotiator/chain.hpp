// A plan's question in the solver's numbers, and the answer back in the plan's words: which devices could take part,
// what each part of the model would take on each of them, which memories have room; then who computes what, why, and
// what the other ways would have given. Bytes are estimates here (weights as the file has them, KV by its width); the
// stages behind measure them exactly, and what the estimate lacked comes back as `correction`.
#pragma once

#include <negotiator/plan.hpp>
#include <negotiator/work.hpp>

namespace brim::negotiator {

// What is known of a device's speed with the model's weight format; a bandwidth of 0 where nothing is.
Constants constants_of(const OpenModel& model, uint32_t device);

// Remembers what decoding a token at that depth took, where the machine remembers and one device does all of the plan.
void learn(const Plan& plan, double seconds, double depth);

// Bytes of a topology's pool that the plan may use.
uint64_t room_of(const Plan& plan, uint32_t pool);

// Gives every item its device and experts apart theirs. `devices`: of the topology, that run every op of the model,
// preferred first; not empty. Fills item_device, apart, home, rejected and decisions.
void choose_devices(Plan& plan, const std::vector<uint32_t>& devices);

// Speed of the plan as it stands, for its mix; unknown where a device's is.
Prediction predict(const Plan& plan);

}  // namespace brim::negotiator
