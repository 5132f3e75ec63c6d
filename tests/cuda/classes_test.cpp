// Machines that are not here: what class of memory their devices have, and how much of it is free.
#include "device/classes.hpp"

#include <doctest/doctest.h>

#include <initializer_list>

using namespace brim_cuda;

namespace {

constexpr uint64_t kGiB = 1ull << 30;

Facts facts(bool integrated, bool pageable, bool host_page_tables, bool managed, uint64_t total, uint64_t system) {
  return {integrated, pageable, host_page_tables, managed, total, system};
}

}  // namespace

TEST_CASE("classes follow what drivers say, never names or sizes") {
  CHECK(classify(facts(true, true, true, true, 119 * kGiB, 121 * kGiB)) == Class::kAtsUnified);   // GB10
  CHECK(classify(facts(true, false, false, false, 61 * kGiB, 62 * kGiB)) == Class::kUnified);     // Jetson
  CHECK(classify(facts(true, false, false, false, 46 * kGiB, 54 * kGiB)) == Class::kUnified);     // RTX Spark, Windows
  CHECK(classify(facts(false, true, true, true, 95 * kGiB, 480 * kGiB)) == Class::kAtsDiscrete);  // GH200
  CHECK(classify(facts(false, false, false, true, 24 * kGiB, 64 * kGiB)) == Class::kDiscrete);
  CHECK(classify(facts(false, true, false, true, 24 * kGiB, 64 * kGiB)) == Class::kDiscrete);  // with HMM
  CHECK(classify(facts(false, false, false, false, 24 * kGiB, 0)) == Class::kDiscrete);
}

TEST_CASE("a device that calls itself discrete with all of the machine's memory is believed in nothing") {
  const Class c = classify(facts(false, false, false, true, 62 * kGiB, 63 * kGiB));
  CHECK(c == Class::kUnknown);
  CHECK(one_pool(c));
  CHECK(available(c, 0, 62 * kGiB, 40 * kGiB, 20 * kGiB) == 20 * kGiB);
  CHECK(available(c, 0, 62 * kGiB, 10 * kGiB, 20 * kGiB) == 10 * kGiB);
}

TEST_CASE("free memory is the reading that is true for the class") {
  // The page cache counts as used in the driver's reading of unified memory (topology.md, A3).
  CHECK(available(Class::kAtsUnified, 0, 119 * kGiB, 41 * kGiB, 115 * kGiB) == 115 * kGiB);
  CHECK(available(Class::kUnified, 0, 61 * kGiB, 3 * kGiB, 50 * kGiB) == 50 * kGiB);
  CHECK(available(Class::kAtsUnified, 0, 119 * kGiB, 41 * kGiB, 200 * kGiB) == 119 * kGiB);
  CHECK(available(Class::kAtsUnified, 0, 119 * kGiB, 41 * kGiB, 0) == 41 * kGiB);
  // A card's own memory is the driver's to tell, whatever the system has.
  CHECK(available(Class::kDiscrete, 0, 24 * kGiB, 20 * kGiB, 2 * kGiB) == 20 * kGiB);
  CHECK(available(Class::kAtsDiscrete, 0, 95 * kGiB, 90 * kGiB, 400 * kGiB) == 90 * kGiB);
  for (const Class c : {Class::kAtsUnified, Class::kUnified, Class::kAtsDiscrete, Class::kDiscrete, Class::kUnknown}) {
    CHECK(available(c, 1, 24 * kGiB, 20 * kGiB, 7 * kGiB) == 7 * kGiB);
  }
}
