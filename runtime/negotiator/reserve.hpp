// A plan's promise: before a load allocates its first byte, what it will take is entered in the ledger against budgets
// that are read anew, so that what the plan counted on is still there and nobody else counts on it.
#pragma once

#include <negotiator/ledger.hpp>
#include <negotiator/plan.hpp>

namespace brim::negotiator {

// Throws OUT_OF_MEMORY where a pool has less by now than the plan takes, unless it was made by unsafe_overcommit.
// [control]
Ledger::Promise reserve(const Plan& plan);

// What stays promised when the plan is loaded: in the system's memory all but copied weights, because states and
// workspace are touched when they are used, and mapped weights can be taken back by the system. Copied weights stay
// promised too where the reading that bound the plan does not count what devices hold. Other pools' readings show what
// was allocated.
std::vector<Entry> untouched(const Plan& plan);

}  // namespace brim::negotiator
