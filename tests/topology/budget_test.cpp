// What may be planned with, from readings as real machines gave them. Each row is a report that some program went wrong
// by; the numbers are the reports'. GiB and MiB are
// binary.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <topology/budget.hpp>
#include <vector>

using namespace brim::topology;

namespace {

constexpr uint64_t gib(double n) { return static_cast<uint64_t>(n * 1024 * 1024 * 1024); }
constexpr uint64_t mib(double n) { return static_cast<uint64_t>(n * 1024 * 1024); }
double in_gib(uint64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024 * 1024); }

Reading reading(ReadingKind kind, uint64_t bytes, uint64_t of, uint32_t view = 0, const char* name = "a reading") {
  return {kind, bytes, of, name, view, false, {}};
}
Reading host(double bytes, double of) {
  return reading(ReadingKind::kHostAvailable, gib(bytes), gib(of), 0, "available to the system");
}
Reading driver(uint64_t bytes, uint64_t of) { return reading(ReadingKind::kDriver, bytes, of, 0, "cudaMemGetInfo"); }
Reading heap(uint64_t bytes, uint64_t of, uint32_t view = 0) { return reading(ReadingKind::kHeap, bytes, of, view); }
Reading limit(double left, double of, const char* name) {
  return reading(ReadingKind::kHostLimit, gib(left), gib(of), 0, name);
}

struct Row {
  const char* machine;
  Class rules;
  std::vector<Reading> readings;
  double budget, tolerance;  // GiB
  const char* binds;         // name of the reading
};

}  // namespace

TEST_CASE("each machine's budget is what its readings are worth, and the reading that binds is named") {
  const std::vector<Row> rows = {
      // cudaMemGetInfo equals MemFree: a 60 GB file in the page cache takes 62 GiB off it.
      {"GB10, page cache full",
       Class::kAtsUma,
       {driver(gib(41.52), gib(121.69)), host(115.65, 121.69)},
       103.65,
       0.01,
       "available to the system"},
      {"GB10, page cache brimful",
       Class::kAtsUma,
       {driver(gib(2.77), gib(121.69)), host(52, 121.69)},
       40,
       0.01,
       "available to the system"},
      {"GB10 in a cgroup that does not see CUDA",
       Class::kAtsUma,
       {host(115.65, 121.69), limit(7.6, 8, "the cgroup v2 limit of /job")},
       7.6 - 2,
       0.01,
       "the cgroup v2 limit of /job"},
      // 54.2 GiB of RAM; CUDA says 46,297 MiB whether 39 or 5 GiB are left, nvidia-smi 8,128.
      {"RTX Spark, 39 GiB left",
       Class::kWindowsUma,
       {reading(ReadingKind::kManagement, mib(8128), mib(8128)), driver(mib(46297), mib(46477)), host(39, 54.2)},
       39 - 0.12 * 54.2,
       0.01,
       "available to the system"},
      {"RTX Spark, 5 GiB left",
       Class::kWindowsUma,
       {reading(ReadingKind::kManagement, mib(8128), mib(8128)), driver(mib(46297), mib(46477)), host(5, 54.2)},
       0,
       0,
       "available to the system"},
      {"N1X, 22.2 GiB left",
       Class::kWindowsUma,
       {driver(mib(51280), mib(51480)), reading(ReadingKind::kManagement, mib(39530), mib(40896)), host(22.2, 63.4)},
       22.2 - 12,
       0.01,
       "available to the system"},
      {"RTX Spark, little left to commit",
       Class::kWindowsUma,
       {driver(mib(46297), mib(46477)), host(39, 54.2),
        reading(ReadingKind::kCommitLeft, gib(20), gib(60), 0, "commit")},
       20 - 0.12 * 54.2,
       0.01,
       "commit"},
      // Taken for shared memory once: 55,372 MiB "free" of 32,106.
      {"RTX 5090 beside 64 GB",
       Class::kDiscreteManaged,
       {driver(mib(31500), mib(32106)), host(54.07, 61.5)},
       31500 / 1024.0 - 0.03 * 32106 / 1024,
       0.01,
       "cudaMemGetInfo"},
      {"Vulkan on Intel, budget beyond the heap",
       Class::kUma,
       {heap(gib(46.76), gib(36.20)), host(60, 63.4)},
       36.20 - 12,
       0.01,
       "a reading"},
      // 96 GB set aside and shown as three heaps of 32, one of GTT behind them.
      {"Strix Halo, 96 GB set aside",
       Class::kUma,
       {heap(gib(32), gib(32)), heap(gib(32), gib(32)), heap(gib(31), gib(32)), heap(gib(15), gib(16)),
        reading(ReadingKind::kCarveOut, gib(95), gib(96)), host(25, 31)},
       32 + 32 + 31 + 15 - 12,
       0.01,
       "a reading"},
      {"Strix Halo, BIOS Auto: nothing set aside",
       Class::kUma,
       {heap(0, 0), heap(gib(110), gib(120)), host(90, 124)},
       90 - 12,
       0.01,
       "available to the system"},
      {"Jetson Thor: CUDA reports too little",
       Class::kTegraUma,
       {driver(gib(3), gib(122)), host(110, 122)},
       98,
       0.01,
       "available to the system"},
      // MemTotal counts 96 GiB of HBM as a NUMA node.
      {"GH200's host",
       Class::kCpu,
       {host(560, 576), reading(ReadingKind::kDeviceNode, gib(94), gib(96))},
       560 - 94 - 0.05 * 480,
       0.01,
       "available to the system"},
      {"GH200's HBM",
       Class::kAtsNuma,
       {driver(gib(94), gib(96)), host(560, 576)},
       94 - 0.03 * 96,
       0.01,
       "cudaMemGetInfo"},
      // memory.max less memory.current was 0.45 GiB; 69 GiB of it were page cache, which the reading credits.
      {"a container of 70 GiB full of page cache",
       Class::kCpu,
       {host(400, 512), limit(69.45, 70, "the cgroup v2 limit of /pod")},
       69.45 - 0.05 * 70,
       0.01,
       "the cgroup v2 limit of /pod"},
      {"nested limits",
       Class::kCpu,
       {host(400, 512), limit(9, 10, "inner"), limit(8, 100, "outer"), limit(60, 64, "top")},
       3,
       0.01,
       "outer"},
      {"two views of one card",
       Class::kDiscrete,
       {heap(gib(22), gib(24), 0), heap(gib(20), gib(24), 1)},
       20 - 0.72,
       0.01,
       "a reading"},
      {"facts that contradict each other",
       Class::kUnknown,
       {driver(gib(20), gib(31)), host(25, 31), heap(gib(9), gib(10))},
       9 - 0.12 * 31,
       0.01,
       "a reading"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.machine);
    std::vector<Reading> readings = row.readings;
    const Budget b = budget_of(row.rules, readings);
    CHECK(std::abs(in_gib(b.budget) - row.budget) <= row.tolerance);
    REQUIRE(b.binding < readings.size());
    CHECK(readings[b.binding].name == row.binds);
    CHECK(readings[b.binding].bounds);
    CHECK(b.budget + b.reserve <= b.available);
    CHECK(b.floor <= b.reserve);
    CHECK(b.available <= b.bytes);
    for (const Reading& r : readings) CHECK_MESSAGE((r.bounds || !r.note.empty()), r.name, " is ignored in silence");
  }
}

TEST_CASE("a shared memory keeps 12 GiB from 64 GB on, and never below 8 while it loads") {
  std::vector<Reading> readings = {host(115, 121.69)};
  Budget b = budget_of(Class::kAtsUma, readings);
  CHECK(b.reserve == gib(12));
  CHECK(b.floor == gib(8));
  // The same readings of a host with a card: nobody hangs, a twentieth is enough.
  b = budget_of(Class::kCpu, readings);
  CHECK(in_gib(b.reserve) == doctest::Approx(0.05 * 121.69));
}

TEST_CASE("a small machine has something left to plan with") {
  for (const double size : {0.5, 1.0, 2.0, 4.0, 8.0}) {
    for (const Class rules : {Class::kCpu, Class::kUma, Class::kTegraUma}) {
      std::vector<Reading> readings = {host(size * 0.9, size)};
      CHECK(budget_of(rules, readings).budget > gib(size / 2));
    }
  }
}

TEST_CASE("more memory never makes a smaller budget, under any rules") {
  for (int c = 0; c <= static_cast<int>(Class::kDiscrete); ++c) {
    for (double free = 1; free < 60; free += 7) {
      std::vector<Reading> a = {host(free, 60), driver(gib(free), gib(60)), heap(gib(free), gib(60))};
      std::vector<Reading> b = {host(free + 1, 60), driver(gib(free + 1), gib(60)), heap(gib(free + 1), gib(60))};
      CHECK(budget_of(static_cast<Class>(c), a).budget <= budget_of(static_cast<Class>(c), b).budget);
    }
  }
}

TEST_CASE("under Windows an RTX Spark shares all but 16 GiB, between half and four fifths") {
  CHECK(in_gib(windows_shared_region(gib(128))) == doctest::Approx(102.4));
  CHECK(in_gib(windows_shared_region(gib(64))) == doctest::Approx(48));
  CHECK(in_gib(windows_shared_region(gib(32))) == doctest::Approx(16));
  CHECK(in_gib(windows_shared_region(gib(16))) == doctest::Approx(8));
}

TEST_CASE("a device's class follows from what its driver says") {
  using enum Fact;
  struct Case {
    const char* machine;
    uint32_t type;
    bool windows, own_pool;
    Fact pageable, host_page_tables, concurrent_managed;
    Class value;
  };
  const Case cases[] = {
      {"GB10 on Linux", BRIM_DEVICE_INTEGRATED, false, false, kYes, kYes, kYes, Class::kAtsUma},
      {"RTX Spark on Windows", BRIM_DEVICE_INTEGRATED, true, false, kNotSaid, kNotSaid, kNo, Class::kWindowsUma},
      // Not documented, so not believed.
      {"Windows that claims ATS", BRIM_DEVICE_INTEGRATED, true, false, kYes, kYes, kYes, Class::kWindowsUma},
      {"Jetson Orin", BRIM_DEVICE_INTEGRATED, false, false, kNo, kNo, kNo, Class::kTegraUma},
      {"GH200", BRIM_DEVICE_DISCRETE, false, true, kYes, kYes, kYes, Class::kAtsNuma},
      {"RTX 5090, HMM", BRIM_DEVICE_DISCRETE, false, true, kYes, kNo, kYes, Class::kDiscreteHmm},
      {"RTX 3090", BRIM_DEVICE_DISCRETE, false, true, kNo, kNo, kYes, Class::kDiscreteManaged},
      {"RTX 4090 in WSL", BRIM_DEVICE_DISCRETE, false, true, kNo, kNo, kNo, Class::kDiscreteLimited},
      {"RTX 4090 on Windows", BRIM_DEVICE_DISCRETE, true, true, kNo, kNo, kNo, Class::kDiscreteLimited},
      {"Strix Halo by Vulkan", BRIM_DEVICE_INTEGRATED, false, false, kNotSaid, kNotSaid, kNotSaid, Class::kUma},
      {"a card by Vulkan", BRIM_DEVICE_DISCRETE, false, true, kNotSaid, kNotSaid, kNotSaid, Class::kDiscrete},
      {"processors", BRIM_DEVICE_CPU, false, false, kNotSaid, kNotSaid, kNotSaid, Class::kCpu},
      {"integrated with memory of its own", BRIM_DEVICE_INTEGRATED, false, true, kNotSaid, kNotSaid, kNotSaid,
       Class::kUnknown},
      {"a card in the system's memory", BRIM_DEVICE_DISCRETE, false, false, kNo, kNo, kYes, Class::kUnknown},
      {"no type", 0, false, true, kNotSaid, kNotSaid, kNotSaid, Class::kUnknown},
  };
  for (const Case& c : cases) {
    CAPTURE(c.machine);
    Facts facts;
    facts.type = c.type;
    facts.windows = c.windows;
    facts.own_pool = c.own_pool;
    facts.pageable = c.pageable;
    facts.host_page_tables = c.host_page_tables;
    facts.concurrent_managed = c.concurrent_managed;
    const Classified got = classify(facts);
    CHECK(class_name(got.value) == class_name(c.value));
    CHECK_FALSE(got.because.empty());
  }
  // lavapipe's one heap looks like a UMA GPU's: what it is comes first.
  Facts software;
  software.type = BRIM_DEVICE_INTEGRATED;
  software.software = true;
  CHECK(classify(software).value == Class::kSoftware);
  // A card as large as the system's memory may be that memory, unless it is on a bus.
  Facts twin;
  twin.type = BRIM_DEVICE_DISCRETE;
  twin.own_pool = true;
  twin.device_bytes = gib(31.35);
  twin.host_bytes = gib(31.2);
  CHECK(classify(twin).value == Class::kUnknown);
  twin.own_link = true;
  CHECK(classify(twin).value == Class::kDiscrete);
}
