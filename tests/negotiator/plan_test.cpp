// Plans: what they say is what loading takes, to the byte; what does not fit is refused with numbers and with offers
// that hold; nothing is lowered unasked.
#include <cstdlib>
#include <engine/engine.hpp>
#include <fstream>
#include <loader/cpu_features.hpp>
#include <negotiator/chain.hpp>
#include <negotiator/reserve.hpp>
#include <nlohmann/json.hpp>
#include <regex>

#include "../engine/small_model.hpp"
#include "../support/failure.hpp"
#include "../support/temp_folder.hpp"

using namespace brim;
using namespace brim::negotiator;
using brim::test::contains;
using brim::test::failure_of;
using brim::test::SmallModel;

namespace {

struct Opened {
  explicit Opened(const SmallModel& small = {}, bool async = false) {
    small.write(path);
    loader::Config config;
    config.directories = {BRIM_BINARY_DIR "/lib/brim/plugins"};
    if (async) config.directories.push_back(BRIM_BINARY_DIR "/tests/plugins/async");
    config.cpu_features = loader::detect_cpu_features();
    config.team = shared_team(1);
    auto machine = std::make_shared<Machine>();
    machine->loader = std::make_unique<loader::Loader>(config);
    machine->topology = topology::detect(*machine->loader);
    model = open_model(machine, path, "");
  }
  uint32_t device(std::string_view plugin) const {
    const auto& devices = model->machine->topology.devices;
    for (uint32_t i = 0; i < devices.size(); ++i) {
      if (devices[i].plugin() == plugin) return i;
    }
    FAIL("no such device");
    return 0;
  }

  test::TempFolder folder;
  std::string path = folder / "model.gguf";
  std::shared_ptr<const OpenModel> model;
};

Request with(uint32_t n_ctx, uint32_t n_seqs = 1) {
  Request r;
  r.n_ctx = n_ctx;
  r.n_seqs = n_seqs;
  return r;
}

std::string choice(const Plan& plan, const std::string& what) {
  for (const Decision& d : plan.decisions) {
    if (d.what == what) return d.choice;
  }
  return {};
}

}  // namespace

TEST_CASE("loading allocates what the plan says, to the byte, and at its height no more than the plan's peak") {
  SmallModel q8_0;
  q8_0.q8_0 = true;
  for (const SmallModel& small : {SmallModel{}, q8_0}) {
    const Opened o(small, true);
    const uint32_t cpu = o.device("brim.cpu"), fake = o.device("test.async");
    int passing = 0;  // loads that take memory for a while
    Request embeddings = with(100, 2);
    embeddings.inputs = 1ull << BRIM_INPUT_EMBEDDING;
    embeddings.outputs = 1ull << BRIM_OUTPUT_LOGITS | 1ull << BRIM_OUTPUT_HIDDEN;
    Request strict = with(64, 3);
    strict.numerics = BRIM_NUMERICS_STRICT;
    strict.load = BRIM_LOAD_READ;
    for (Request request : {with(128), with(77, 3), embeddings, strict}) {
      for (const auto& placements : std::vector<std::vector<Placement>>{
               {{cpu, 0, 2}}, {{fake, 0, 2}}, {{cpu, 0, 1}, {fake, 1, 1}}, {{fake, 0, 1}, {cpu, 1, 1}}}) {
        request.placements = placements;
        const auto plan = make_plan(o.model, request);
        engine::Engine loaded(plan, {});
        uint64_t allocated = 0, planned = 0, programs = 0, most = 0, peak = 0;
        for (uint32_t d = 0; d < plan->devices.size(); ++d) {
          allocated += loaded.allocated(d);
          most += loaded.most_allocated(d);
          programs += plan->devices[d].programs_bytes;  // the backends' own, not allocated through buffers
        }
        for (const PoolCharge& c : plan->pools) planned += c.total(), peak += c.peak() - c.mapped;
        CHECK(allocated == planned - programs);
        CHECK(most == peak - programs);
        passing += most > allocated;
      }
    }
    CHECK(passing > 0);
  }
}

TEST_CASE("a header alone plans what its whole file does, from wherever the file is cut, and does not load") {
  const Opened o;
  const auto text_of = [&](const std::string& path, const Request& request) {
    const auto opened = open_model(o.model->machine, path, "");
    auto said = nlohmann::json::parse(explain(*make_plan(opened, request)));
    said.erase("model");
    for (auto& pool : said["pools"]) pool.erase("readings"), pool.erase("available"), pool.erase("budget_bytes");
    for (auto& d : said["decisions"]) d.erase("because");  // has what was free at that moment
    said.erase("reasons");
    said.erase("rejected");
    return said.dump();
  };
  std::ifstream whole(o.path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(whole)), {});
  const uint64_t header = model::parse_gguf(std::as_bytes(std::span(bytes)), "whole").header_bytes;
  REQUIRE(header < bytes.size() / 2);
  const std::string cut = o.folder / "cut.gguf";
  Request read = with(100, 2);
  read.load = BRIM_LOAD_READ;
  for (const uint64_t length : {header, header + 5, (header + bytes.size()) / 2, bytes.size()}) {
    std::ofstream(cut, std::ios::binary) << bytes.substr(0, length);
    for (const Request& request : {with(128), read}) {
      CHECK(text_of("header:" + cut, request) == text_of(o.path, request));
    }
    const auto opened = open_model(o.model->machine, "header:" + cut, "");
    CHECK(opened->file.tensor_bytes() == o.model->file.tensor_bytes());
    CHECK_FAILS(BRIM_FAILED_PRECONDITION, "the header of a model and has no data",
                engine::Engine(make_plan(opened, read), {}));
    if (length < bytes.size()) CHECK_FAILS(BRIM_DATA_CORRUPT, "header:PATH", open_model(o.model->machine, cut, ""));
  }
  std::ofstream(cut, std::ios::binary) << bytes.substr(0, header - 1);
  CHECK_FAILS(BRIM_DATA_CORRUPT, "the file ends at byte", open_model(o.model->machine, "header:" + cut, ""));
}

TEST_CASE("weights are read in place from the file, whatever multiple of 32 bytes its tensors begin at") {
  for (const size_t letters : {1, 33}) {  // 32 bytes more of metadata, so the other half of a cache line
    SmallModel small;
    small.name = std::string(letters, 'x');
    const Opened o(small);
    const auto plan = make_plan(o.model, with(64));
    for (const WeightPlan& w : plan->weights) CHECK(w.residence == Residence::kMapped);
    CHECK(plan->request.load == BRIM_LOAD_MAP);
    Request read = with(64);
    read.load = BRIM_LOAD_READ;
    CHECK(make_plan(o.model, read)->request.load == BRIM_LOAD_READ);
  }
}

TEST_CASE("defaults: KV is never quantised and the context never shrunk unasked") {
  SmallModel small;
  small.context = 3000;
  const Opened o(small);
  const auto plan = make_plan(o.model, {});
  CHECK(plan->request.n_ctx == 3000);
  CHECK(plan->request.n_seqs == 1);
  CHECK(plan->request.kv_tokens == 3000);
  CHECK(plan->request.kv_dtype == BRIM_DTYPE_F16);
  CHECK(plan->request.numerics == BRIM_NUMERICS_FAST);
  CHECK(contains(choice(*plan, "kv dtype"), "f16"));
  Request strict;
  strict.numerics = BRIM_NUMERICS_STRICT;
  CHECK(make_plan(o.model, strict)->request.kv_dtype == BRIM_DTYPE_F32);
  // A trained context beyond 8192 is not taken whole, which the plan says; asked for, it is.
  small.context = 20000;
  const Opened large(small);
  CHECK(make_plan(large.model, {})->request.n_ctx == 8192);
  CHECK(make_plan(large.model, with(20000))->request.n_ctx == 20000);
}

TEST_CASE("what a pool cannot hold is refused with numbers and offers, and each offer fits") {
  SmallModel small;
  small.width = 128;
  small.context = 8192;
  const Opened o(small);
  Request request = with(8192);
  request.kv_dtype = BRIM_DTYPE_F32;
  const auto plan = make_plan(o.model, request);
  REQUIRE(plan->pools.size() == 1);
  const PoolCharge& c = plan->pools[0];
  // Two thirds of the KV.
  request.limits = {{c.pool, c.peak() - c.kv / 3}};
  Error refused(BRIM_OK, "");
  try {
    make_plan(o.model, request);
  } catch (const Error& e) {
    refused = e;
  }
  const std::string said = refused.what();
  INFO(said);
  CHECK(refused.code == BRIM_OUT_OF_MEMORY);
  CHECK(refused.detail[0] == c.pool);
  CHECK(refused.detail[1] == c.peak());
  CHECK(refused.detail[2] == request.limits[0].bytes);
  CHECK(contains(said, "8192"));
  CHECK(contains(said, "What would fit: "));
  CHECK(said.size() < sizeof(brim_error::message));
  std::smatch found;
  REQUIRE(std::regex_search(said, found, std::regex("a context of ([0-9]+) tokens, or")));
  Request shorter = request;
  shorter.n_ctx = static_cast<uint32_t>(std::stoul(found[1]));
  CHECK(shorter.n_ctx >= 4096);
  CHECK(make_plan(o.model, shorter)->request.n_ctx == shorter.n_ctx);
  shorter.n_ctx += 512;
  CHECK(failure_of([&] { make_plan(o.model, shorter); }).code == BRIM_OUT_OF_MEMORY);
  CHECK(contains(said, "kv_dtype f16"));
  Request half = request;
  half.kv_dtype = BRIM_DTYPE_F16;
  CHECK(make_plan(o.model, half)->request.n_ctx == 8192);
  // Forced, it is planned as it was asked for, and says so.
  request.unsafe_overcommit = true;
  const auto forced = make_plan(o.model, request);
  CHECK(forced->request.n_ctx == 8192);
  CHECK(forced->request.kv_dtype == BRIM_DTYPE_F32);
  CHECK(contains(explain(*forced), "unsafe_overcommit"));
}

TEST_CASE("a context beyond all memory is refused, and can be planned by force only") {
  const Opened o;
  Request request = with(1u << 24, 4096);
  CHECK(failure_of([&] { make_plan(o.model, request); }).code == BRIM_OUT_OF_MEMORY);
  request.unsafe_overcommit = true;
  CHECK(make_plan(o.model, request)->request.n_ctx == 1u << 24);
}

TEST_CASE("requests that contradict themselves are refused and name the number") {
  const Opened o;
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "4097", make_plan(o.model, with(128, 4097)));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "16777217", make_plan(o.model, with((1u << 24) + 1)));
  Request r = with(128);
  r.n_batch = 9000;
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "9000", make_plan(o.model, r));
  r = with(128);
  r.kv_dtype = BRIM_DTYPE_Q4_0;
  CHECK_FAILS(BRIM_UNSUPPORTED, "q4_0", make_plan(o.model, r));
  r = with(128);
  r.numerics = 7;
  CHECK_FAILS(BRIM_UNSUPPORTED, "numerics 7", make_plan(o.model, r));
  r = with(128);
  r.outputs = 1ull << BRIM_OUTPUT_POOLED;
  CHECK_FAILS(BRIM_UNSUPPORTED, "outputs", make_plan(o.model, r));
  r = with(128);
  r.placements = {{99, 0, 1}};
  CHECK(failure_of([&] { make_plan(o.model, r); }).code == BRIM_INVALID_ARGUMENT);
  r.placements = {{0, 1, 5}};
  CHECK(failure_of([&] { make_plan(o.model, r); }).code == BRIM_INVALID_ARGUMENT);
}

TEST_CASE("what decoding took is what later plans predict") {
  const Opened o;
  o.model->machine->learned = std::make_shared<Learned>("");
  const auto plan = make_plan(o.model, with(128));
  learn(*plan, 0.01, 0);
  const auto later = make_plan(o.model, with(128));
  REQUIRE(later->predicted.known);
  CHECK(later->predicted.decode == doctest::Approx(100).epsilon(0.001));
  CHECK(later->predicted.provenance == Provenance::kLearned);
  CHECK(later->predicted.decode_full < later->predicted.decode);
}

TEST_CASE("a load promises what it takes, and a second one is refused what the first was promised") {
  const Opened o;
  const auto plan = make_plan(o.model, with(128));
  const PoolCharge& c = plan->pools.front();
  const uint64_t wanted = c.peak();
  topology::Topology& t = o.model->machine->topology;
  t.described_by = "by hand";  // budgets stay as they are set here
  t.pools[c.pool].budget = wanted + wanted / 2;
  Ledger& ledger = *o.model->machine->ledger;
  const uint64_t before = ledger.promised(t.pools[c.pool].id);
  {
    auto promise = reserve(*plan);
    CHECK(ledger.promised(t.pools[c.pool].id) == before + wanted);
    CHECK_FAILS(BRIM_OUT_OF_MEMORY, "promised to models", reserve(*plan));
    // A plan made now sees it as well.
    CHECK(failure_of([&] { make_plan(o.model, with(128)); }).code == BRIM_OUT_OF_MEMORY);
    promise.settle(untouched(*plan));
    CHECK(ledger.promised(t.pools[c.pool].id) == before + c.planned() - c.weights);
  }
  CHECK(ledger.promised(t.pools[c.pool].id) == before);
  reserve(*plan);
}

TEST_CASE("loading stops before the system's last memory goes, and gives back what it had") {
  const Opened o;
  Request read = with(128);
  read.load = BRIM_LOAD_READ;
  Plan plan = *make_plan(o.model, read);
  plan.pools.front().floor = UINT64_MAX;
  CHECK_FAILS(BRIM_OUT_OF_MEMORY, "have to stay free", engine::Engine(std::make_shared<Plan>(plan), {}));
  plan.request.unsafe_overcommit = true;
  engine::Engine forced(std::make_shared<Plan>(plan), {});
}

TEST_CASE("the explanation is JSON and gives a reason for every decision") {
  const Opened o;
  const auto said = nlohmann::json::parse(explain(*make_plan(o.model, with(128))));
  REQUIRE(said["decisions"].size() > 4);
  for (const auto& d : said["decisions"]) {
    CHECK(d["what"].get<std::string>() != "");
    CHECK(d["choice"].get<std::string>() != "");
    CHECK(d["because"].get<std::string>() != "");
  }
}
