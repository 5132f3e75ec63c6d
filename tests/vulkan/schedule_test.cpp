// Barriers on random programs: none is missing, none is more than the data flow asks for.
#include <doctest/doctest.h>

#include <cstdlib>
#include <gpu/schedule.hpp>
#include <random>

using namespace brim_gpu;

namespace {

Memory memory() {
  static brim_host_api api = [] {
    brim_host_api a{};
    a.alloc = [](brim_host*, uint64_t bytes, uint64_t) -> void* { return std::malloc(bytes); };
    a.free = [](brim_host*, void* p, uint64_t, uint64_t) { std::free(p); };
    return a;
  }();
  return {&api, nullptr};
}

// Launches that read up to three and write one or two of a few places, which overlap in part.
Array<Touches> random_program(std::mt19937& random) {
  Array<Touches> program(memory());
  const auto range = [&] {
    const uint64_t begin = random() % 40 * 8;
    return Range{begin, begin + 8 + random() % 3 * 8};
  };
  for (uint64_t n = random() % 40; n-- > 0;) {
    Touches t{};
    for (uint64_t i = random() % 4; i-- > 0;) t.add_read(range());
    for (uint64_t i = random() % 2 + 1; i-- > 0;) t.add_write(range());
    program.push_back(t);
  }
  return program;
}

}  // namespace

TEST_CASE("launches that conflict keep their order and have a barrier between them") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const Array<Touches> program = random_program(random);
    Array<uint32_t> level(memory());
    schedule(program, level);
    for (size_t i = 0; i < program.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (conflict(program[j], program[i])) CHECK(level[j] < level[i]);
      }
    }
  }
}

TEST_CASE("a barrier taken out would let a conflict through, and there are no more than the longest chain needs") {
  std::mt19937 random(8);
  for (int round = 0; round < 200; ++round) {
    const Array<Touches> program = random_program(random);
    Array<uint32_t> level(memory());
    const uint32_t levels = schedule(program, level);
    for (uint32_t barrier = 1; barrier < levels; ++barrier) {
      bool needed = false;
      for (size_t i = 0; i < program.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
          needed = needed || (level[j] == barrier - 1 && level[i] == barrier && conflict(program[j], program[i]));
        }
      }
      CHECK(needed);
    }
    // The longest chain of conflicts, counted apart.
    std::vector<uint32_t> chain(program.size(), 1);
    uint32_t longest = 0;
    for (size_t i = 0; i < program.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (conflict(program[j], program[i])) chain[i] = std::max(chain[i], chain[j] + 1);
      }
      longest = std::max(longest, chain[i]);
    }
    CHECK(levels == longest);
  }
}
