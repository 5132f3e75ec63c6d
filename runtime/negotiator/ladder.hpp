// The ladder of quality: what a plan may give up where the request does not fit, in this order: finer KV, then half of
// the context, again and again. Only as far as the request allows, which by default is not at all; what lies further
// down is told and not done.
#pragma once

#include <negotiator/plan.hpp>
#include <optional>

namespace brim::negotiator {

// The next lower request that `asked` allows, of which `now` (every default filled in) did not fit; nothing at the end.
std::optional<Request> next_lower(const Request& asked, const Request& now);

// What one rung less of each kind would give.
std::vector<Rung> next_rungs(const Plan& plan);

}  // namespace brim::negotiator
