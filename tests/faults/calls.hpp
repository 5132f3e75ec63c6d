// Every function of brim.h that can fail, as one call that can be made again and again on a World, with a result to
// compare.
#pragma once

#include <functional>

#include "world.hpp"

namespace brim::test {

struct Call {
  std::string function;
  Level level;        // how far the world has to be raised
  const char* thing;  // what the words of its errors name, whatever fails underneath; "" where that differs
  // Makes the call, on success appends what it gave to *result, and gives back what it made.
  std::function<brim_status(World&, brim_error*, std::string*)> make;
  // Brings the world back, whether it failed or not; may be empty.
  std::function<void(World&)> undo;
  std::function<void(World&)> prepare{};  // before every call, while nothing fails; may be empty
};

const std::vector<Call>& calls();

}  // namespace brim::test
