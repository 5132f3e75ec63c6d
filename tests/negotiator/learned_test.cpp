// What was seen of a machine's speed stays, in a file that damage does not spread from.
#include <doctest/doctest.h>

#include <fstream>
#include <negotiator/learned.hpp>

#include "../support/temp_folder.hpp"

using brim::negotiator::Learned;
using brim::test::TempFolder;

TEST_CASE("an observation counts whole the first time and moves the entry by a bounded share afterwards") {
  Learned learned;
  const Learned::Key key{"GPU", "1.0", "Q4_K_M"};
  CHECK(learned.bandwidth(key) == 0);
  learned.observe(key, 100e9);
  CHECK(learned.bandwidth(key) == doctest::Approx(100e9));
  learned.observe(key, 110e9);
  CHECK(learned.bandwidth(key) == doctest::Approx(103e9));
  learned.observe(key, 1e9);  // a run that something disturbed
  CHECK(learned.bandwidth(key) == doctest::Approx(103e9 * 0.85));
  learned.observe(key, 0);
  learned.observe(key, -1);
  CHECK(learned.bandwidth(key) == doctest::Approx(103e9 * 0.85));
  // Another driver or format is another matter.
  CHECK(learned.bandwidth({"GPU", "1.1", "Q4_K_M"}) == 0);
  CHECK(learned.bandwidth({"GPU", "1.0", "Q8_0"}) == 0);
}

TEST_CASE("what was learned is there the next time, and lines that are none are passed over") {
  const TempFolder folder;
  const std::string path = folder / "learned";
  {
    Learned learned(path);
    learned.observe({"A GPU", "driver 1", "Q8_0"}, 50e9);
    learned.observe({"tab\there", "", "F16"}, 60e9);
  }
  std::ofstream(path, std::ios::app) << "nonsense\n\n-5\t1\ta\tb\tc\nnan\t1\ta\tb\tc\n7e9\t2\tx\ty";
  Learned again(path);
  CHECK(again.bandwidth({"A GPU", "driver 1", "Q8_0"}) == doctest::Approx(50e9));
  CHECK(again.bandwidth({"tab here", "", "F16"}) == doctest::Approx(60e9));
  CHECK(again.bandwidth({"a", "b", "c"}) == 0);
  CHECK(again.bandwidth({"x", "y", ""}) == 0);
}
