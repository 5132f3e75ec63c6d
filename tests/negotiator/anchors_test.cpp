// What other programs went wrong by when they placed models, as plans on described machines: one memory counted twice,
// one device used as two, free memory that is none, buffers larger than a device gives, the wrong device chosen. Sizes
// and readings are those of the reports.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <negotiator/chain.hpp>
#include <negotiator/reserve.hpp>
#include <regex>
#include <topology/machine_file.hpp>

#include "../support/failure.hpp"
#include "machines.hpp"

using namespace brim;
using namespace brim::negotiator;
using brim::test::contains;
using brim::test::failure_of;

namespace {

using Here = std::shared_ptr<Machine>;

Here on(const topology::MachineFile& file) {
  Here here = test::machine();
  here->topology = topology::describe(*here->loader, file, file.name);
  return here;
}
Here on(const std::string& toml) { return on(topology::parse_machine("name = \"test\"\n" + toml, "test.toml")); }

std::string pool(std::string_view id, std::string_view bytes, std::string_view speed, std::string_view more = "") {
  return fmt::format("[[pool]]\nid = \"{}\"\nbytes = \"{}\"\nnominal_bandwidth = \"{}\"\n{}\n", id, bytes, speed, more);
}
std::string device(std::string_view name, std::string_view type, std::string_view more = "") {
  return fmt::format("[[device]]\nname = \"{}\"\ntype = \"{}\"\n{}\n", name, type, more);
}
std::string reading(std::string_view kind, std::string_view bytes, std::string_view of) {
  return fmt::format("[[pool.reading]]\nkind = \"{}\"\nname = \"{}\"\nbytes = \"{}\"\nof = \"{}\"\n", kind, kind, bytes,
                     of);
}

Request with(uint32_t n_ctx) {
  Request r;
  r.n_ctx = n_ctx;
  return r;
}

std::shared_ptr<const Plan> plan_of(const Here& here, const std::string& shape, const Request& request) {
  return make_plan(open_model(here, shape, ""), request);
}

bool all_on(const Plan& plan, uint32_t device) {
  return std::all_of(plan.item_device.begin(), plan.item_device.end(), [&](uint32_t d) { return d == device; });
}

std::string why_left_out(const Plan& plan, const std::string& name) {
  for (const Decision& d : plan.decisions) {
    if (d.what == "left out" && d.choice.starts_with(name)) return d.because;
  }
  return {};
}

// Bytes per pool of the topology, counted from the parts of the plan and not from its sums.
std::map<uint32_t, uint64_t> counted(const Plan& plan) {
  std::map<uint32_t, uint64_t> bytes;
  const auto pool_of = [&](uint32_t device, uint32_t heap) -> uint64_t& {
    return bytes[plan.device(device).heaps[heap].pool];
  };
  for (uint32_t i = 0; i < plan.devices.size(); ++i) {
    const DevicePlan& d = plan.devices[i];
    pool_of(i, d.local_heap) += d.arena_bytes + d.workspace_bytes + d.programs_bytes;
    pool_of(i, d.host_heap) += d.outputs_bytes + d.embedding_bytes + d.step_bytes + d.staging_bytes;
  }
  for (const WeightPlan& w : plan.weights) pool_of(w.device, plan.devices[w.device].local_heap) += w.bytes;
  for (const StatePlan& s : plan.states) pool_of(s.device, plan.devices[s.device].local_heap) += s.bytes;
  return bytes;
}

}  // namespace

TEST_CASE("on every machine that is shipped, what all views of a memory are given is no more than the memory has") {
  int planned = 0, refused = 0;
  for (const auto& entry : std::filesystem::directory_iterator(BRIM_SOURCE_DIR "/sdk/machines")) {
    const Here here = on(topology::open_machine(entry.path().string(), {}));
    for (const char* shape : {"llama-3-8b:q4_k_m", "qwen2.5-32b:q4_k_m", "gpt-oss-120b:mxfp4"}) {
      CAPTURE(entry.path().stem().string());
      CAPTURE(std::string(shape));
      std::shared_ptr<const Plan> plan;
      try {
        plan = plan_of(here, shape, with(8192));
      } catch (const Error& e) {
        CHECK(e.code == BRIM_OUT_OF_MEMORY);
        CHECK(e.detail[1] > e.detail[2]);
        ++refused;
        continue;
      }
      ++planned;
      for (const auto& [pool, bytes] : counted(*plan)) CHECK(bytes <= here->topology.pools[pool].budget);
    }
  }
  CHECK(planned > 40);
  CHECK(refused > 0);
}

TEST_CASE("two interfaces to one GPU are used as one: the faster stands for it and nothing is split between them") {
  const std::string card = "pci = \"0000:01:00.0\"\npool = \"vram\"\n";
  const std::string vram = pool("vram", "24 GiB", "1008 GB/s"), system = pool("system", "64 GiB", "90 GB/s");
  const std::string cuda = "pageable_access = true\nhost_page_tables = false\nconcurrent_managed = true\n";
  const Here one = on(system + vram + device("card", "discrete", card + cuda) + device("cores", "cpu"));
  const Here two = on(system + vram + device("view", "discrete", card) + device("card", "discrete", card + cuda) +
                      device("cores", "cpu"));
  for (const char* shape : {"llama-3-8b:q4_k_m", "llama-3-70b:q4_k_m", "gpt-oss-120b:mxfp4"}) {
    const auto a = plan_of(one, shape, with(8192)), b = plan_of(two, shape, with(8192));
    REQUIRE(a->item_device.size() == b->item_device.size());
    for (size_t i = 0; i < a->item_device.size(); ++i) CHECK(a->item_device[i] + 1 == b->item_device[i]);
    CHECK(contains(why_left_out(*b, "view"), "shows the same device"));
  }
}

TEST_CASE("RTX Spark with 5 GiB left refuses a model that CUDA says there is room for, and names the reading") {
  const auto spark = [](const char* available) {
    return on("os = \"windows\"\n" +
              pool("system", "54.2 GiB", "300 GB/s",
                   reading("host_available", available, "54.2 GiB") + reading("driver", "46297 MiB", "46477 MiB") +
                       reading("management", "8128 MiB", "8128 MiB")) +
              device("GPU", "integrated", "concurrent_managed = false") + device("cores", "cpu"));
  };
  CHECK(all_on(*plan_of(spark("39 GiB"), "llama-3-8b:q8_0", with(8192)), 0));
  CHECK_FAILS(BRIM_OUT_OF_MEMORY, "by the reading \"host_available\" 5.37 GB are free",
              plan_of(spark("5 GiB"), "llama-3-8b:q8_0", with(8192)));
}

TEST_CASE("no buffer is planned that is larger than the device gives at once") {
  // 96 GB set aside, shown as heaps of 32, buffers of 2 GiB.
  const std::string heap = reading("heap", "32 GiB", "32 GiB");
  const Here here = on(pool("system", "128 GiB", "256 GB/s",
                            reading("host_available", "25 GiB", "31 GiB") + reading("carve_out", "95 GiB", "96 GiB") +
                                heap + heap + heap + reading("heap", "15 GiB", "16 GiB")) +
                       device("GPU", "integrated", "max_allocation = \"2 GiB\"") + device("cores", "cpu"));
  CHECK(here->topology.pools.size() == 1);
  const auto plan = plan_of(here, "llama-2-13b:q4_k_m", with(65536));
  CHECK(all_on(*plan, 0));
  for (const StatePlan& s : plan->states) CHECK(s.bytes <= 2 * test::kGiB);
  // There is room for all layers, but none gives that much at once.
  CHECK_FAILS(BRIM_OUT_OF_MEMORY, "GPU: the KV of a layer wants one buffer of 2.35 GB",
              plan_of(here, "llama-2-13b:q4_k_m", with(114688)));
  Request lower = with(114688);
  lower.kv_least = BRIM_DTYPE_Q8_0;
  CHECK(plan_of(here, "llama-2-13b:q4_k_m", lower)->request.kv_dtype == BRIM_DTYPE_Q8_0);
}

TEST_CASE("a card is chosen before a larger and slower shared memory, and processors before a GPU that reads slower") {
  const std::string vram = pool("vram", "16 GiB", "896 GB/s");
  const std::string card = device("card", "discrete", "pool = \"vram\"");
  const std::string igpu = device("GeForce RTX 9090 Super", "integrated"), cores = device("cores", "cpu");
  const std::string system = pool("system", "96 GiB", "90 GB/s");
  CHECK(all_on(*plan_of(on(system + vram + igpu + card + cores), "llama-3-8b:q4_k_m", with(8192)), 1));
  CHECK(all_on(*plan_of(on(system + vram + card + igpu + cores), "llama-3-8b:q4_k_m", with(8192)), 0));
  const auto beside = [&](const char* measured) {
    return on(pool("system", "32 GiB", "90 GB/s", "read_bandwidth = \"60 GB/s\"") +
              device("GPU", "integrated", fmt::format("bandwidth = \"{}\"", measured)) + cores);
  };
  CHECK(all_on(*plan_of(beside("20 GB/s"), "llama-3-8b:q4_k_m", with(8192)), 1));
  CHECK(all_on(*plan_of(beside("70 GB/s"), "llama-3-8b:q4_k_m", with(8192)), 0));
}

TEST_CASE("a GPU's interface over the processors takes part where it is asked for, or alone, and not else") {
  const std::string system = pool("system", "64 GiB", "90 GB/s");
  const std::string software = device("pipe", "integrated", "software = true\nbandwidth = \"500 GB/s\"");
  const Here here = on(system + software + device("cores", "cpu"));
  const auto plan = plan_of(here, "llama-3-8b:q4_k_m", with(8192));
  CHECK(all_on(*plan, 1));
  CHECK(contains(why_left_out(*plan, "pipe"), "host's processors"));
  Request asked = with(8192);
  asked.placements = {{0, 0, 32}};
  const auto forced = plan_of(here, "llama-3-8b:q4_k_m", asked);
  CHECK(all_on(*forced, 0));
  CHECK(why_left_out(*forced, "pipe").empty());
  CHECK(all_on(*plan_of(on(system + software), "llama-3-8b:q4_k_m", with(8192)), 0));
}

TEST_CASE("a limit that the kernel keeps without counting CUDA's memory is kept by counting the weights") {
  const Here here =
      on(pool("system", "121.69 GiB", "273 GB/s",
              reading("host_available", "115.65 GiB", "121.69 GiB") + reading("host_limit", "30 GiB", "32 GiB")) +
         device("GPU", "integrated", "pageable_access = true\nhost_page_tables = true\nconcurrent_managed = true") +
         device("cores", "cpu"));
  Request request = with(8192);
  request.load = BRIM_LOAD_READ;
  const auto plan = plan_of(here, "qwen2.5-32b:q4_k_m", request);
  REQUIRE(plan->pools.size() == 1);
  auto promise = reserve(*plan);
  promise.settle(untouched(*plan));
  // Loaded: the limit reads as before, and what remains of it for others is less by all of the model.
  const topology::Pool& pool = here->topology.pools[0];
  CHECK(here->ledger->promised(pool.id) == plan->pools[0].total());
  CHECK_FAILS(BRIM_OUT_OF_MEMORY, "host_limit", plan_of(here, "qwen2.5-14b:q4_k_m", request));
  // Of processors' memory the limit does count what was copied.
  Plan counted = *plan;
  here->topology.pools[0].rules = topology::Class::kCpu;
  CHECK(untouched(counted)[0].bytes == plan->pools[0].total() - plan->pools[0].weights);
}

TEST_CASE("weights come past the file cache where that would hold them a second time, and nowhere else") {
  const auto plan_on = [](const std::string& name) {
    return plan_of(on(topology::open_machine(BRIM_SOURCE_DIR "/sdk/machines/" + name + ".toml", {})),
                   "llama-3-8b:q4_k_m", with(8192));
  };
  for (const char* name : {"rtx-spark", "dgx-spark", "rtx-spark-windows"}) {
    CAPTURE(std::string(name));
    CHECK(plan_on(name)->request.load == BRIM_LOAD_DIRECT);
  }
  for (const char* name : {"gh200", "jetson-orin", "strix-halo", "rtx-4090", "arc-b70", "cpu"}) {
    CAPTURE(std::string(name));
    const auto plan = plan_on(name);
    CHECK(plan->request.load != BRIM_LOAD_DIRECT);
    for (const DevicePlan& d : plan->devices) CHECK(!d.direct);
  }
}

TEST_CASE("KV takes what heads and their width say, whatever the model's width") {
  const auto per_token = [](const char* shape) {
    return plan_of(test::spark(), shape, with(8192))->kv_bytes_per_token;
  };
  CHECK(per_token("llama-3-8b:q4_k_m") == 128 * 1024);
  CHECK(per_token("qwen3-30b-a3b:q8_0") == 96 * 1024);  // 4 heads of 128, where width / heads is 64
}

TEST_CASE("latent attention keeps one row of rank and rotary part a token and layer") {
  const std::string path = BRIM_SHARED_DIR "/golden/deepseek2/model.gguf";
  if (!std::filesystem::exists(path)) {
    MESSAGE("skipped: no " << path);
    return;
  }
  // Three layers of rank 32 with 8 rotated, F16: by the file's metadata.
  CHECK(plan_of(test::machine(), path, with(256))->kv_bytes_per_token == 3 * (32 + 8) * 2);
}

TEST_CASE("what was asked for by hand and does not fit is refused with its numbers, not made smaller") {
  const Here here = test::desktop();
  const auto refused = [&](const Request& request) {
    try {
      plan_of(here, "llama-3-70b:q4_k_m", request);
    } catch (const Error& e) {
      CHECK(e.code == BRIM_OUT_OF_MEMORY);
      CHECK(e.detail[1] > e.detail[2]);
      CHECK(e.detail[2] == here->topology.pools[e.detail[0]].budget);
      return;
    }
    FAIL_CHECK("was planned");
  };
  Request request = with(8192);
  request.placements = {{0, 0, 80}};  // all layers on the card
  refused(request);
  request = with(131072);
  request.n_seqs = 4;
  request.kv_tokens = 400'000;
  refused(request);
  request = with(131072);
  request.kv_dtype = BRIM_DTYPE_F32;
  refused(request);
}

TEST_CASE("whoever takes no part is told of with a reason, every rejection with a number") {
  const std::string card = "pool = \"vram\"\n";
  std::string toml = pool("system", "64 GiB", "90 GB/s") + pool("vram", "24 GiB", "1008 GB/s");
  toml += device("card", "discrete", card + "pci = \"0000:01:00.0\"") +
          device("view", "discrete", card + "pci = \"0000:01:00.0\"") +
          device("pipe", "integrated", "software = true") + device("small GPU", "integrated") + device("cores", "cpu");
  for (int i = 0; i < 3; ++i) {
    toml = pool("system", "64 GiB", "90 GB/s") + pool(fmt::format("v{}", i), "2 GiB", "300 GB/s") +
           toml.substr(toml.find("[[pool]]", 1)) +
           device(fmt::format("old card {}", i), "discrete", fmt::format("pool = \"v{}\"", i));
  }
  const Here here = on(toml);
  REQUIRE(here->topology.devices.size() == 8);
  const auto plan = plan_of(here, "llama-3-70b:q4_k_m", with(8192));
  for (uint32_t d = 0; d < here->topology.devices.size(); ++d) {
    const std::string& name = here->topology.devices[d].name;
    CAPTURE(name);
    const bool used = std::find(plan->item_device.begin(), plan->item_device.end(), d) != plan->item_device.end();
    const bool rejected = std::any_of(plan->rejected.begin(), plan->rejected.end(),
                                      [&](const Rejected& r) { return contains(r.what, name) && !r.because.empty(); });
    CHECK((used || rejected || !why_left_out(*plan, name).empty()));
  }
  REQUIRE(!plan->rejected.empty());
  for (const Rejected& r : plan->rejected) CHECK(std::regex_search(r.because, std::regex("[0-9]")));
  REQUIRE(!plan->next_rungs.empty());
  for (const Rung& r : plan->next_rungs) CHECK((r.kv_bytes > 0 && r.decode_full > 0));
}

TEST_CASE("the words of a plan, its numbers left out") {
  Request request = with(131072);
  request.kv_least = BRIM_DTYPE_Q8_0;
  const auto plan = plan_of(test::spark(), "llama-2-13b:q4_k_m", request);
  std::string said;
  for (const Decision& d : plan->decisions) said += fmt::format("{}: {}, because {}\n", d.what, d.choice, d.because);
  for (const Rejected& r : plan->rejected) said += fmt::format("not {}: {}\n", r.what, r.because);
  for (const Rung& r : plan->next_rungs) said += fmt::format("lower: {}\n", r.what);
  CHECK(std::regex_replace(said, std::regex("[0-9][0-9.]*( bytes| kB| MB| GB)?"), "#") ==
        R"(context: #, because asked for; beyond the trained context of # the text may become poor
sequences: #, because not asked for: one
kv tokens: #, because every sequence can fill its context
kv dtype: q#_#, because asked for
numerics: fast, because the default
layers # to #: GPU, because the least predicted time of all placements that fit
weights: # copied for GPU, because packed into the backend's own layout
weights: # copied for GPU, because the device cannot read host memory in place
weights of GPU: read past the system's file cache, because the cache would hold them a second time in the memory it computes from
fit: # of system memory: weights #, KV #, activations #, workspace #, step #, because # are available, # of them stay free for others
not a context of # with f# KV: does not fit: # are wanted, # can be used
not everything on the processor: slower: it would take # times as long
lower: a context of #
)");
}

TEST_CASE("speeds learned with another driver count no more: the prediction is wider again") {
  const Here here = test::machine();
  here->learned = std::make_shared<Learned>("");
  const std::string path = BRIM_SOURCE_DIR "/samples/models/brim-austen.gguf";
  const auto width = [&](Provenance provenance) {
    const auto plan = plan_of(here, path, with(256));
    REQUIRE(plan->predicted.known);
    CHECK(plan->predicted.provenance == provenance);
    return (plan->predicted.high - plan->predicted.low) / plan->predicted.decode;
  };
  topology::set_host_bandwidth(here->topology, 20e9);
  const double probed = width(Provenance::kProbe);
  const auto plan = plan_of(here, path, with(256));
  learn(*plan, 0.01, 0);
  CHECK(width(Provenance::kLearned) < probed);
  for (topology::Device& d : here->topology.devices) d.driver = "another";
  CHECK(width(Provenance::kProbe) == probed);
}
