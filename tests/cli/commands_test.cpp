// What the commands print when all is well, on a tiny model whose numbers are known beforehand.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "../support/temp_folder.hpp"
#include "command.hpp"
#include "range_server.hpp"

using namespace brim::test;
using Json = nlohmann::json;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Tiny {
  TempFolder folder;
  std::string zero = quote(folder / "zero.gguf"), random = quote(folder / "random.gguf");
  Tiny() {
    tiny_model(Head::kZero).write(folder / "zero.gguf");
    tiny_model(Head::kRandom).write(folder / "random.gguf");
  }
};

}  // namespace

TEST_CASE("tokenize gives ids, with BOS as the file says") {
  const Tiny tiny;
  // 'a' and 'b' are bytes 0x61 and 0x62 after three special tokens; the space in front is the last token.
  CHECK(brim_command("tokenize --ids " + tiny.random + " ab").out == "1 259 100 101\n");
  CHECK(brim_command("tokenize --ids --no-bos " + tiny.random + " ab").out == "259 100 101\n");
  CHECK(shell("printf 'ab' | " + quote(BRIM_BINARY_DIR "/bin/brim") + " tokenize --stdin --ids --no-bos " + tiny.random)
            .out == "259 100 101\n");
  CHECK(has(brim_command("tokenize " + tiny.random + " ab").out, "<s>"));
}

TEST_CASE("run --quiet prints the generated text and a line break, the same each time") {
  const Tiny tiny;
  const Outcome first = brim_command("run " + tiny.random + " --prompt '' --temp 0 -n 12 --ignore-eos --quiet");
  CHECK(first.code == 0);
  CHECK(first.err == "");
  CHECK(first.out.size() > 1);
  CHECK(first.out.back() == '\n');
  CHECK(brim_command("run " + tiny.random + " --prompt '' --temp 0 -n 12 --ignore-eos --quiet -t 1").out == first.out);
  // A prompt means the same by each of its ways in.
  const std::string rest = " --temp 0 -n 12 --ignore-eos --quiet ";
  const std::string direct = brim_command("run " + tiny.random + rest + "--prompt 'Hello there'").out;
  std::ofstream(tiny.folder / "prompt.txt") << "Hello there";
  CHECK(brim_command("run " + tiny.random + rest + "--file " + quote(tiny.folder / "prompt.txt")).out == direct);
  CHECK(shell("printf 'Hello there' | " + quote(BRIM_BINARY_DIR "/bin/brim") + " run " + tiny.random + rest).out ==
        direct);
}

TEST_CASE("run ends with speeds and a picture of the memory on standard error") {
  const Tiny tiny;
  const Outcome outcome = brim_command("run " + tiny.random + " --prompt abc --temp 0 -n 12 --ignore-eos");
  CHECK(outcome.code == 0);
  for (const char* word : {"prefill", "decode", "tokens/s", "first token after", "% of memory bandwidth", "GB/s",
                           "weights", "KV", "activations", "free"}) {
    CHECK_MESSAGE(has(outcome.err, word), "expected: " << word << " in " << outcome.err);
  }
}

TEST_CASE("a seed makes a draw repeatable") {
  const Tiny tiny;
  const std::string line =
      "run " + tiny.random + " --prompt a --temp 5 --top-k 0 --top-p 1 --min-p 0 -n 24 --ignore-eos --quiet ";
  CHECK(brim_command(line + "--seed 1").out == brim_command(line + "--seed 1").out);
  CHECK(brim_command(line + "--seed 1").out != brim_command(line + "--seed 2").out);
}

TEST_CASE("a full context ends the text and says so") {
  const Tiny tiny;
  const Outcome outcome = brim_command("run " + tiny.random + " --prompt abc --temp 0 -c 16 --ignore-eos");
  CHECK(outcome.code == 0);
  CHECK(has(outcome.err, "context of 16 tokens is full"));
}

TEST_CASE("plan says the same in its table as in JSON, to the byte") {
  const Tiny tiny;
  const Outcome table = brim_command("plan " + tiny.random);
  CHECK(table.code == 0);
  const Json plan = Json::parse(brim_command("plan -o json " + tiny.random).out);
  REQUIRE(plan.at("decisions").size() > 0);
  for (const Json& decision : plan.at("decisions")) {
    CHECK(has(table.out, decision.at("what").get<std::string>()));
    CHECK(decision.at("because").get<std::string>() != "");
  }
}

TEST_CASE("plan answers for a shape without a file, and a refusal is JSON too") {
  const Json plan = Json::parse(brim_command("plan --json --unsafe-overcommit --ctx 4096 llama-3-8b:q4_k_m").out);
  CHECK(plan.at("context") == 4096);
  CHECK(plan.at("kv_bytes_per_token") == 128 * 1024);
  CHECK(plan.at("layers").size() == 32);
  const Outcome refused = brim_command("plan --json llama-3.1-405b:f16");
  CHECK(refused.code == 1);
  CHECK(Json::parse(refused.out).at("fits") == false);
  CHECK(has(refused.err, "What would fit"));
}

TEST_CASE("plan fetches no more of a model on a server than its header") {
#if !defined(BRIM_CLI_CURL)
  MESSAGE("skipped: this build has no libcurl");
#else
  const TempFolder folder;
  GgufBuilder model = tiny_model(Head::kRandom);
  model.set("long.text", std::string(3 << 20, 'x'));  // the header is longer than a first guess
  model.write(folder / "model.gguf");
  std::ifstream in(folder / "model.gguf", std::ios::binary);
  const std::string header{std::istreambuf_iterator<char>(in), {}};
  const std::string file = header + std::string(20 << 20, 0);
  const Outcome local = brim_command("plan --json header:" + quote(folder / "model.gguf"));
  REQUIRE(local.code == 0);
  const auto plan_of = [](const Outcome& o) {
    Json plan = Json::parse(o.out);
    return Json{plan.at("weights_bytes"), plan.at("kv_bytes"), plan.at("workspace_bytes"), plan.at("layers")};
  };
  for (const auto kind : {RangeServer::Kind::kRanges, RangeServer::Kind::kMoved}) {
    RangeServer server(file, kind);
    const Outcome remote = brim_command("plan --json " + server.url());
    CAPTURE(remote.err);
    REQUIRE(remote.code == 0);
    CHECK(plan_of(remote) == plan_of(local));
    CHECK(has(remote.err, "4.2 MB of "));
    uint64_t bytes = 0;
    for (const auto& [first, last] : server.asked()) {
      CHECK(first == bytes);  // nothing comes twice
      bytes = last + 1;
    }
    CHECK(bytes == 4 << 20);
  }
  {
    RangeServer server(file, RangeServer::Kind::kGone);
    const Outcome gone = brim_command("plan " + server.url());
    CHECK(gone.code == 1);
    CHECK(has(gone.err, server.url() + ": the server answered 404"));
  }
  {
    RangeServer server(file, RangeServer::Kind::kWhole);
    const Outcome whole = brim_command("plan " + server.url());
    CHECK(whole.code == 1);
    CHECK(has(whole.err, "whole files only"));
  }
  {
    RangeServer server("no model at all", RangeServer::Kind::kRanges);
    const Outcome wrong = brim_command("plan " + server.url());
    CHECK(wrong.code == 1);
    CHECK(has(wrong.err, "GGUF"));
  }
  const Outcome nobody = brim_command("plan http://127.0.0.1:1/model.gguf");
  CHECK(nobody.code == 1);
  CHECK(has(nobody.err, "http://127.0.0.1:1/model.gguf: "));
#endif
}

TEST_CASE("what calibrate measured is predicted afterwards, and run says how far it was off") {
  const Tiny tiny;
  const std::string learned = " --set runtime.learned=" + quote(tiny.folder / "learned") + " ";
  CHECK(has(brim_command("calibrate " + tiny.random).err, "runtime.learned"));
  CHECK(has(brim_command("calibrate -r 2 -n 20" + learned + tiny.random).out, "plans now predict"));
  const Json plan = Json::parse(brim_command("plan --json" + learned + tiny.random).out);
  CHECK(plan.at("predicted").at("decode_tps").get<double>() > 0);
  CHECK(plan.at("predicted").at("provenance") == "learned");
  CHECK(has(brim_command("run " + tiny.random + learned + "--prompt abc -n 20 --ignore-eos").err, "predicted"));
}

TEST_CASE("selftest checks the plugin, compares logits, and keeps a report that describes the machine") {
  const Tiny tiny;
  const std::string report = quote(tiny.folder / "here.toml"), checker = quote(BRIM_BINARY_DIR "/bin/brim-check");
  const Outcome outcome = brim_command("selftest --device 0 --group load,contract.caps --checker " + checker +
                                       " --save " + report + " " + tiny.random);
  CHECK(outcome.code == 0);
  CHECK(has(outcome.out, "ok   contract.caps"));
  CHECK(has(outcome.out, "0 skipped"));
  CHECK(has(outcome.out, "strict numerics: "));
  CHECK(has(outcome.out, "the selftest passed"));
  CHECK(has(brim_command("devices --on " + report).out, "described"));

  const Outcome missing = brim_command("selftest --device 0 --checker " + quote(tiny.folder / "none"));
  CHECK(missing.code == 1);
  CHECK(has(missing.out, "FAILED: "));
  CHECK(has(missing.out, "--checker"));
  CHECK(brim_command("selftest --device 99").code == 2);
  CHECK(has(brim_command("selftest --device brim.cpu --group load.exports --checker " + checker).out, "brim.cpu"));
}

TEST_CASE("bench --per-op tells where the time of a step goes") {
  const Tiny tiny;
  const Json json = Json::parse(brim_command("bench " + tiny.random + " -p 8 -n 2 -r 1 -t 1 --per-op -o json").out);
  for (const char* phase : {"prefill", "decode"}) {
    double share = 0;
    bool head = false;
    for (const Json& line : json.at("per_op").at(phase)) {
      share += line.at("share").get<double>();
      head = head || (line.at("op") == "MATMUL" && line.at("weight") == "output.weight" && line.at("nodes") == 1);
    }
    CHECK(share == doctest::Approx(1));
    CHECK(head);
  }
  CHECK(has(brim_command("bench " + tiny.random + " -p 8 -n 2 -r 1 -t 1 --per-op").out, "all, one by one"));
}

TEST_CASE("bench measures and writes what it says") {
  const Tiny tiny;
  const Json json = Json::parse(brim_command("bench " + tiny.random + " -p 32 -n 8 -r 2 -t 1 -o json").out);
  CHECK(json.at("n_prompt") == 32);
  CHECK(json.at("n_gen") == 8);
  CHECK(json.at("repetitions") == 2);
  CHECK(json.at("threads") == 1);
  CHECK(json.at("prefill_tps").get<double>() > 0);
  CHECK(json.at("decode_tps").get<double>() > 0);
  CHECK(json.at("bandwidth_gbs").get<double>() > 0);
  // Every weight but the embedding table, of which one row is read, 4 bytes each.
  const double read = 4.0 * (4 * 32 * 32 + 3 * 32 * 64 + 3 * 32 + 260 * 32 + 32);
  CHECK(json.at("bytes_per_token").get<double>() == doctest::Approx(read).epsilon(0.02));
  const std::string md = brim_command("bench " + tiny.random + " -p 32 -n 8 -r 2 -o md").out;
  CHECK(has(md, "| model | size | params | backend | threads | test | t/s |"));
  CHECK(has(md, "| pp32 |"));
  CHECK(has(md, "| tg8 |"));
}

TEST_CASE("eval: a model that knows nothing has the perplexity of its vocabulary, and is no distance from itself") {
  const Tiny tiny;
  {
    std::ofstream text(tiny.folder / "text.txt");
    for (int i = 0; i < 40; ++i) text << "It is a truth universally acknowledged. ";
  }
  const std::string on_text = " --text " + quote(tiny.folder / "text.txt");
  CHECK(has(brim_command("eval " + tiny.zero + on_text + " -c 64").out, "perplexity  260.0000 ± 0.0000"));
  // However the text is cut, each of its tokens is scored once: 1600 bytes and the space in front.
  for (const char* cut : {" -c 64 --stride 1", " -c 64 --stride 63", " -c 4000", " -c 1602"}) {
    CAPTURE(cut);
    CHECK(has(brim_command("eval " + tiny.zero + on_text + cut).out, "(1601 tokens)"));
  }
  const std::string same = brim_command("eval " + tiny.random + on_text + " -c 64 --against " + tiny.random).out;
  CHECK(has(same, "mean 0.000000"));
  CHECK(has(same, "100.00"));
  CHECK_FALSE(
      has(brim_command("eval " + tiny.random + on_text + " -c 64 --against " + tiny.zero).out, "mean 0.000000"));
}

TEST_CASE("quantize writes a smaller model that runs") {
  const Tiny tiny;
  const std::string out = quote(tiny.folder / "q8.gguf");
  CHECK(brim_command("quantize " + tiny.random + " " + out + " Q8_0").code == 0);
  CHECK(has(brim_command("show --tensors " + out).out, "q8_0"));
  CHECK(brim_command("run " + out + " --prompt a -n 4 --ignore-eos --quiet").code == 0);
  CHECK(brim_command("quantize " + tiny.random + " " + out + " Q99").code == 1);
  // Settings mean the same here as everywhere: they are checked, and threads come from them too.
  CHECK(brim_command("quantize " + tiny.random + " " + out + " Q8_0 --set runtime.threads=2").code == 0);
  CHECK(
      has(brim_command("quantize " + tiny.random + " " + out + " Q8_0 --set runtime.thread=2").err, "runtime.threads"));
}

TEST_CASE("plugins, devices and config tell what there is") {
  const Outcome plugins = brim_command("plugins");
  CHECK(has(plugins.out, "brim.cpu"));
  CHECK(has(plugins.out, "brim.llama"));
  CHECK(has(brim_command("devices").out, "GB/s"));
  const Outcome config = brim_command("config --set plan.context=4096");
  CHECK(has(config.out, "plan.context = 4096"));
  CHECK(has(config.out, "sampling.temperature"));
}

TEST_CASE(
    "devices shows each memory with its readings and speeds, of this machine, of a described one, of a saved one") {
  const Tiny tiny;
  const Outcome here = brim_command("devices");
  CHECK(here.code == 0);
  CHECK(has(here.out, "<- binds"));
  CHECK(has(here.out, "GB/s probe"));
  CHECK_FALSE(has(here.out, "unknown speed"));  // the processors' way to their memory was just measured

  const Outcome spark = brim_command("devices --on rtx-spark");
  CHECK(spark.code == 0);
  CHECK(has(spark.out, "ats-uma"));
  CHECK(has(spark.out, "300 GB/s by its data sheet"));
  CHECK(has(spark.out, "described"));

  const std::string saved = quote(tiny.folder / "there.toml");
  CHECK(brim_command("devices -o json --on rtx-4090 --save " + saved).code == 0);
  const Json first = Json::parse(brim_command("devices -o json --on rtx-4090").out);
  const Json again = Json::parse(brim_command("devices -o json --on " + saved).out);
  REQUIRE(first.at("pools").size() == 2);
  CHECK(again.at("pools") == first.at("pools"));
  CHECK(again.at("links") == first.at("links"));

  const Outcome wrong = brim_command("devices --on rtx-sparc");
  CHECK(wrong.code == 1);
  CHECK(has(wrong.err, "did you mean 'rtx-spark'?"));
  CHECK(brim_command("devices --save /no/such/folder/x.toml").code == 1);
}

TEST_CASE("plans are made for machines that are not here, and nothing is loaded on them") {
  const Tiny tiny;
  const Outcome plan = brim_command("plan llama-3-8b:q4_k_m --on rtx-4090");
  CHECK(plan.code == 0);
  CHECK(has(plan.out, "GDDR6X"));
  CHECK_FALSE(has(brim_command("plan " + tiny.random + " --on cpu").out, "is assumed"));
  std::ofstream(tiny.folder / "acme.toml") << R"(name = "acme"
[[pool]]
id = "system"
bytes = "64 GiB"
nominal_bandwidth = "400 GB/s"
[[device]]
name = "Acme NPU"
type = "accelerator"
backend = "acme.npu"
)";
  const std::string acme = brim_command("plan " + tiny.random + " --on " + quote(tiny.folder / "acme.toml")).out;
  CHECK(has(acme, "Acme NPU is assumed: acme.npu is not installed; that it can compute what brim."));
  const Outcome run = brim_command("run " + tiny.random + " --prompt a --set runtime.machine=rtx-4090");
  CHECK(run.code == 1);
  CHECK(has(run.err, "described and not here"));
}

TEST_CASE("without any backend plugins, show, tokenize and devices work, and run says what is missing") {
  const Tiny tiny;
  const std::string none = " --plugins " + quote(tiny.folder.path().string());
  CHECK(brim_command("plugins" + none).code == 0);
  CHECK(brim_command("show " + tiny.random + none).code == 0);
  CHECK(brim_command("tokenize --ids " + tiny.random + " ab" + none).out == "1 259 100 101\n");
  CHECK(has(brim_command("devices" + none).out, "system memory"));
  const Outcome run = brim_command("run " + tiny.random + " --prompt a" + none);
  CHECK(run.code == 1);
  CHECK(has(run.err, "no usable backend"));
}

TEST_CASE("the example of the configuration guide is taken by the library and by the plugins it names") {
  const TempFolder folder;
  std::ifstream guide(BRIM_SOURCE_DIR "/sdk/docs/configuration.md");
  std::ofstream example(folder / "brim.toml");
  bool inside = false;
  for (std::string line; std::getline(guide, line) && line != "## Keys";) {
    inside = inside || line == "    [runtime]";
    if (inside) example << line << '\n';
  }
  example.close();
  REQUIRE(inside);
  const Outcome outcome = brim_command("plugins --config " + quote(folder / "brim.toml"));
  CHECK(outcome.code == 0);
  CHECK(outcome.err == "");
}

TEST_CASE("brim-check golden compares with the reference and judges by the case's limits") {
  const Tiny tiny;
  const auto write_case = [&](const std::string& name, float reference) {
    const auto folder = tiny.folder.path() / name;
    std::filesystem::create_directory(folder);
    tiny_model(Head::kZero).write(folder / "model.gguf");
    const Json batch = {
        {"op", "decode"}, {"tokens", {1, 1, 100}}, {"pos", {0, 0, 1}}, {"seq", {0, 1, 0}}, {"out", {0, 1, 1}}};
    const Json golden = {
        {"case", name},
        {"kind", "logits"},
        {"model", "model.gguf"},
        {"rows", 2},
        {"width", kTinyVocabulary},
        {"runs", {{{"name", "two"}, {"kind", "logits"}, {"batches", {batch}}, {"first_row", 0}, {"rows", 2}}}},
        {"limits", {{"exact", {{"max_abs", 1e-4}}}}}};
    std::ofstream(folder / "case.json") << golden.dump();
    const std::vector<float> values(2 * kTinyVocabulary, reference);
    std::ofstream(folder / "logits.bin", std::ios::binary)
        .write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size() * sizeof(float)));
    return quote(folder.string());
  };
  const std::string right = write_case("right", 0.0f), wrong = write_case("wrong", 0.5f);
  const std::string out = tiny.folder / "out.bin";
  const Outcome held = check_command("golden " + right + " --device cpu --out " + quote(out));
  CHECK(held.code == 0);
  CHECK(has(held.out, "OK"));
  CHECK(std::filesystem::file_size(out) == 2 * kTinyVocabulary * sizeof(float));
  const Outcome over = check_command("golden " + wrong + " --out " + quote(out));
  CHECK(over.code == 1);
  CHECK(has(over.out, "max abs 0.5"));
  const Outcome all = check_command("golden --all " + quote(tiny.folder.path().string()));
  CHECK(all.code == 1);
  CHECK(has(all.out, "1 held, 1 failed, 0 unsupported"));
  CHECK(check_command("golden --all " + quote(tiny.folder.path().string()) + " --match 'ri*'").code == 0);
  CHECK(check_command("golden /nowhere").code == 1);
  CHECK(check_command("golden").code == 2);
}

TEST_CASE("a published model gives its published text") {
  const std::string model = BRIM_SHARED_DIR "/models/stories260K.gguf";
  if (!std::filesystem::exists(model)) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  std::ifstream stream(BRIM_SHARED_DIR "/models/stories260K.expected.txt", std::ios::binary);
  const std::string expected{std::istreambuf_iterator<char>(stream), {}};
  const Outcome outcome = brim_command("run " + quote(model) + " --prompt '' --temp 0 -n 256 --quiet");
  CHECK(outcome.out == expected);  // 256 tokens and a line break
  CHECK(outcome.err == "");
}
