// Writes the first inputs of every fuzz target into FOLDER/TARGET: small files of each format as this repository's own
// writers make them, among them some that lie in one place each, which a fuzzer finds late.
#include <vector>

#include "../text/chat_templates.hpp"
#include "host.hpp"
#include "tiny_session.hpp"

using namespace brim::fuzz;
using brim::test::GgufBuilder;

namespace {

std::filesystem::path root;

void write(const std::string& target, const std::string& name, std::string_view bytes) {
  std::filesystem::create_directories(root / target);
  write_file((root / target / name).string(), bytes);
}

// ---- GGUF ----

GgufBuilder every_kind() {
  GgufBuilder b;
  b.set("u8", uint8_t{1}).set("i8", int8_t{-1}).set("u16", uint16_t{2}).set("i16", int16_t{-2});
  b.set("u32", uint32_t{3}).set("i32", int32_t{-3}).set("u64", uint64_t{4}).set("i64", int64_t{-4});
  b.set("f32", 0.5f).set("f64", 0.25).set("bool", true).set("text", "words").set("i32 of 5", int32_t{5});
  b.set("u8s", std::vector<uint8_t>{1}).set("i8s", std::vector<int8_t>{-1}).set("u16s", std::vector<uint16_t>{2});
  b.set("i16s", std::vector<int16_t>{2}).set("u32s", std::vector<uint32_t>{3}).set("i32s", std::vector<int32_t>{3});
  b.set("u64s", std::vector<uint64_t>{4}).set("i64s", std::vector<int64_t>{4}).set("f32s", std::vector<float>{1});
  b.set("f64s", std::vector<double>{1}).set("bools", std::vector<bool>{true, false});
  b.set("texts", std::vector<std::string>{"a", ""}).set("none", std::vector<float>{});
  b.set("general.alignment", uint32_t{32});
  b.f32("norm", {8}, std::vector<float>(8)).tensor("q8", {2, 32}, 8, std::vector<char>(68));
  b.tensor("lone", {}, 0, std::vector<float>{1}).tensor("unknown", {3}, 77, std::vector<char>{});
  b.tensor("half", {2, 3, 4}, 1, std::vector<uint16_t>(24));
  return b;
}

GgufBuilder byte_bpe(const char* pre) {
  GgufBuilder b;
  b.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", pre);
  b.set("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab", "\xC4\xA0", "<|endoftext|>", "<|im_end|>"});
  b.set("tokenizer.ggml.token_type", std::vector<int32_t>{1, 1, 1, 1, 3, 3});
  b.set("tokenizer.ggml.merges", std::vector<std::string>{"a b", "\xC4\xA0 a"});
  b.set("tokenizer.ggml.eos_token_id", uint32_t{4}).set("tokenizer.ggml.bos_token_id", uint32_t{4});
  b.set("tokenizer.ggml.unknown_token_id", uint32_t{0}).set("tokenizer.ggml.add_bos_token", true);
  return b;
}

GgufBuilder word_pieces() {
  GgufBuilder b;
  b.set("tokenizer.ggml.model", "bert");
  b.set("tokenizer.ggml.tokens", std::vector<std::string>{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "\xE2\x96\x81the", "s"});
  b.set("tokenizer.ggml.token_type", std::vector<int32_t>{3, 2, 3, 3, 1, 1});
  b.set("tokenizer.ggml.unknown_token_id", uint32_t{1}).set("tokenizer.ggml.cls_token_id", uint32_t{2});
  b.set("tokenizer.ggml.seperator_token_id", uint32_t{3}).set("tokenizer.ggml.padding_token_id", uint32_t{0});
  return b;
}

void gguf() {
  const auto add = [](const char* name, const GgufBuilder& b) { write("gguf", name, b.bytes()); };
  GgufBuilder vocabulary;
  add_tiny_vocabulary(vocabulary);
  add("vocabulary", vocabulary);
  add("every_kind", every_kind());
  add("byte_bpe", byte_bpe("llama-bpe"));
  add("word_pieces", word_pieces());
  const std::pair<const char*, uint32_t> versions[] = {{"v1", 1}, {"v2", 2}, {"v4", 4}, {"big_endian", 3u << 24}};
  for (const auto& [name, version] : versions) {
    GgufBuilder b;
    b.version = version;
    add(name, b);
  }
  GgufBuilder twice;
  twice.set("a", true).set("a", true);
  add("key_twice", twice);
  for (const uint32_t alignment : {0u, 48u, 1u << 31}) {
    GgufBuilder b;
    b.set("general.alignment", alignment);
    add(("alignment_" + std::to_string(alignment)).c_str(), b);
  }
  const auto one = [&](const char* name, GgufBuilder::Tensor tensor) {
    GgufBuilder b;
    add(name, b.tensor(std::move(tensor)));
  };
  one("rank", {"t", {1, 1, 1, 1, 1}, 0, std::string(4, 0), {}});
  one("no_extent", {"t", {0}, 0, "", {}});
  one("huge", {"t", {uint64_t{1} << 62, 4}, 0, "", {}});
  one("bytes_overflow", {"t", {uint64_t{1} << 62}, 0, "", {}});
  one("blocks", {"t", {33}, 8, "", {}});
  one("misaligned", {"t", {1}, 0, std::string(4, 0), 4});
  one("outside", {"t", {64}, 0, std::string(4, 0), {}});
  one("no_name", {"", {1}, 0, std::string(4, 0), {}});
  GgufBuilder overlap;
  overlap.f32("a", {8}, std::vector<float>(8)).tensor({"b", {8}, 0, std::string(32, 0), 0});
  add("overlap", overlap);
  GgufBuilder same;
  same.f32("a", {1}, {1}).f32("a", {1}, {1});
  add("tensor_twice", same);
  GgufBuilder counts;
  counts.tensor_count = uint64_t{1} << 60;
  add("tensor_count", counts);
  counts.tensor_count.reset();
  counts.key_count = 1000;
  add("key_count", counts);
  GgufBuilder nested;
  nested.raw("k", 9, std::string("\x09\0\0\0\x01\0\0\0\0\0\0\0", 12));
  add("nested", nested);
  const std::pair<const char*, std::string> others[] = {{"ggjt", "ggjt"},
                                                        {"swapped", "FUGG"},
                                                        {"zip", "PK\x03\x04"},
                                                        {"gzip", "\x1f\x8b"},
                                                        {"elf",
                                                         "\x7f"
                                                         "ELF"},
                                                        {"mz", "MZ"},
                                                        {"lfs", "version https://git-lfs.github.com/spec/v1"},
                                                        {"pickle", "\x80\x02"},
                                                        {"json", " {}"},
                                                        {"html", "<!DOCTYPE html><html>"},
                                                        {"text", "hello"},
                                                        {"zeros", std::string(8, 0)},
                                                        {"safetensors", std::string("\x08\0\0\0\0\0\0\0{}", 10)},
                                                        {"bytes", "\xff\x01\x02"}};
  for (const auto& [name, bytes] : others) write("gguf", name, bytes);
}

// ---- whole models ----

GgufBuilder split_part(uint32_t part, uint32_t parts, uint32_t says = 0) {
  GgufBuilder b;
  if (part == 0) {
    add_tiny_vocabulary(b);
    add_tiny_sizes(b, 1);
  }
  b.set("split.no", part).set("split.count", parts).set("split.tensors.count", says ? says : 11u);
  if (part == 0) add_tiny_tables(b);
  if (part == 1) add_tiny_layer(b, 0);
  return b;
}

GgufBuilder with_everything() {
  GgufBuilder b = tiny_model();
  b.set("llama.rope.dimension_count", uint32_t{4}).set("llama.rope.scaling.type", "yarn");
  b.set("llama.rope.scaling.factor", 4.0f).set("llama.rope.scaling.original_context_length", uint32_t{16});
  b.set("llama.rope.freq_base", 500.0f).set("general.file_type", uint32_t{0});
  b.f32("output.weight", {kTinyVocabulary, kTinyWidth}, tiny_values(kTinyVocabulary * kTinyWidth, 7));
  b.f32("rope_freqs.weight", {2}, {1, 2}).f32("blk.0.attn_q.bias", {kTinyWidth}, tiny_values(kTinyWidth, 9));
  return b;
}

GgufBuilder experts() {
  GgufBuilder b;
  add_tiny_vocabulary(b);
  add_tiny_sizes(b, 1);
  b.set("llama.expert_count", uint32_t{2}).set("llama.expert_used_count", uint32_t{1});
  add_tiny_tables(b);
  constexpr uint64_t kWidth = kTinyWidth;
  const std::pair<const char*, std::vector<uint64_t>> shapes[] = {{"attn_norm", {kWidth}},
                                                                  {"attn_q", {kWidth, kWidth}},
                                                                  {"attn_k", {kWidth / 2, kWidth}},
                                                                  {"attn_v", {kWidth / 2, kWidth}},
                                                                  {"attn_output", {kWidth, kWidth}},
                                                                  {"ffn_norm", {kWidth}},
                                                                  {"ffn_gate_inp", {2, kWidth}},
                                                                  {"ffn_gate_exps", {2, kWidth, kWidth}},
                                                                  {"ffn_up_exps", {2, kWidth, kWidth}},
                                                                  {"ffn_down_exps", {2, kWidth, kWidth}}};
  for (const auto& [name, shape] : shapes) {
    uint64_t n = 1;
    for (const uint64_t extent : shape) n *= extent;
    b.f32(std::string("blk.0.") + name + ".weight", shape, tiny_values(n, static_cast<uint32_t>(n)));
  }
  return b;
}

void model() {
  const auto add = [](const char* name, const std::string& bytes) { write("model", name, bytes); };
  add("tiny", tiny_model().bytes());
  add("everything", with_everything().bytes());
  add("experts", experts().bytes());
  add("split", split_part(0, 2).bytes() + split_part(1, 2).bytes());
  add("split_count", split_part(0, 2).bytes() + split_part(1, 2, 9).bytes());
  add("split_says", split_part(0, 2, 9).bytes() + split_part(1, 2).bytes());
  add("split_missing", split_part(0, 3).bytes() + split_part(1, 3).bytes());
  add("split_mixed", split_part(0, 2).bytes() + split_part(0, 2).bytes());
  add("split_twice", split_part(0, 2).bytes() + split_part(1, 2).set("x", true).bytes());
  add("split_beyond", split_part(5, 2).bytes());
  add("split_many", split_part(0, 100000).bytes());
  add("word_pieces", word_pieces().bytes());
}

// ---- texts ----

void config() {
  const auto add = [](const char* name, std::string_view text) { write("config", name, text); };
  using namespace std::string_view_literals;
  add("usual",
      "[runtime]\nthreads = 4\nlog_level = \"debug\"\nplugin_dirs = [\"/a\", \"/b\"]\n[plan]\ncontext = 4096\n"
      "kv_dtype = \"q8_0\"\nunsafe_overcommit = true\n[load]\nio = \"map\"\n[sampling]\ntemperature = 0.5\n"
      "top_p = 1\n[backend.cpu]\nvariant = \"x\"\nn = 3\nf = 1.5\nb = false\n[architecture.\"a.b\"]\nk = 1\n");
  add("set",
      "plan.context\0"
      "4096\0sampling.temperature\0"
      "0.5\0runtime.plugin_dirs\0[\"/a\"]\0plan.kv_dtype\0f16\0"
      "backend.cpu.variant\0x\0plan.unsafe_overcommit\0true\0runtime.plugin_dirs\0/abs"sv);
  add("set_wrong",
      "plan.context\0-1\0sampling.temperature\0x\0runtime.plugin_dirs\0[1]\0plan.kv_dtype\0f8\0backend.cpu\0"
      "x\0plan.unsafe_overcommit\0yes\0plan.contxt\0"
      "1\0runtime.plugin_dirs\0[\0backend\0x\0\xff\0\xff"sv);
  add("unknown_key", "[plan]\ncontxt = 1\n");
  add("unknown_table", "[plam]\ncontext = 1\n");
  add("no_table", "context = 1\n");
  add("wrong_types", "[sampling]\nseed = \"x\"\n");
  add("wrong_list", "[runtime]\nplugin_dirs = [1]\n");
  add("relative", "[runtime]\nplugin_dirs = [\"a\"]\n");
  add("no_number", "[sampling]\ntemperature = nan\n");
  add("twice", "[backend.cpu]\na = 1\n[backend.\"brim.cpu\"]\na = 2\n");
  add("empty_plugin", "[backend]\n");
  add("not_a_table", "backend = 1\n");
  add("setting", "[backend.cpu]\na = [1]\n");
  add("dates", "[sampling]\nseed = 1979-05-27T07:32:00Z\n");
  add("syntax", "[plan\n");
}

void manifest() {
  constexpr const char* kAbi = "[abi]\nmajor = 0\nminor = 1\nmin_minor = 0\n";
  const auto add = [](const char* name, const std::string& text) { write("manifest", name, text); };
  const auto plugin = [](const char* kind, const char* library) {
    return std::string("[plugin]\nid = \"brim.cpu\"\nkind = \"") + kind + "\"\nlibrary = \"" + library +
           "\"\nversion = \"0.1.0\"\nlicense = \"Apache-2.0\"\n";
  };
  add("usual", plugin("backend", "lib.so") + kAbi +
                   "[requires]\nos = \"linux\"\narch = \"x86_64\"\n"
                   "cpu_features = [\"avx2\", \"none\"]\nrank = 20\n");
  add("foreign", plugin("architecture", "sub/lib.so") + kAbi + "[requires]\nos = \"plan9\"\n");
  add("foreign_arch", plugin("architecture", "lib.so") + kAbi + "[requires]\narch = \"m68k\"\n");
  add("major", plugin("backend", "lib.so") + "[abi]\nmajor = 9\nminor = 1\nmin_minor = 0\n");
  add("minor", plugin("backend", "lib.so") + "[abi]\nmajor = 0\nminor = 99\nmin_minor = 99\n");
  for (const char* library : {"/lib.so", "../lib.so", "a/../../lib.so", "a\\\\b", "c:lib", "\\u0000"}) {
    add((std::string("library_") + std::to_string(std::string_view(library).size())).c_str(),
        plugin("backend", library) + kAbi);
  }
  add("kind", plugin("neither", "lib.so") + kAbi);
  add("key", plugin("backend", "lib.so") + "licence = \"x\"\n" + kAbi);
  add("far_key", plugin("backend", "lib.so") + "zzzzzzzz = \"x\"\n" + kAbi);
  add("range", plugin("backend", "lib.so") + "[abi]\nmajor = -1\nminor = 1\nmin_minor = 0\n");
  for (const char* value : {"\"x\"", "1", "1.5", "true", "[1]", "{}", "1979-05-27"}) {
    const std::string name = std::to_string(static_cast<int>(value[1]));
    add(("number_" + name).c_str(), plugin("backend", "lib.so") + "[abi]\nmajor = " + value + "\nminor = 1\n");
    add(("text_" + name).c_str(), "[plugin]\nid = " + std::string(value) + "\n");
    add(("texts_" + name).c_str(), plugin("backend", "lib.so") + kAbi + "[requires]\ncpu_features = " + value + "\n");
    add(("table_" + name).c_str(), "plugin = " + std::string(value) + "\n");
  }
  add("syntax", "[plugin");
}

std::string floats(size_t n) { return std::string(n * sizeof(float), '\0'); }

void golden_case() {
  const auto add = [](const char* name, const std::string& json, size_t n) {
    write("golden_case", name, json + '\0' + floats(n));
  };
  const std::string batch = R"({"op":"decode","tokens":[1,2],"pos":[0,1],"seq":[0,0],"out":[0,1]})";
  const auto whole = [&](const char* rows, const char* first, const char* own, const char* width) {
    return std::string(R"({"case":"c","kind":"logits","model":"m.gguf","rows":)") + rows + R"(,"width":)" + width +
           R"(,"runs":[{"name":"r","kind":"logits","first_row":)" + first + R"(,"rows":)" + own + R"(,"batches":[)" +
           batch + R"(]}],"limits":{"exact":{"max_abs":1e-4,"rel_rms":1e-5,"kl_max":1e-6,"runs":{"r":1}},"x":{}}})";
  };
  add("usual", whole("1", "0", "1", "3"), 3);
  add("short", whole("1", "0", "1", "3"), 2);
  add("long", whole("1", "0", "1", "3"), 4);
  add("gap", whole("1", "1", "1", "3"), 3);
  add("sum", whole("2", "0", "1", "3"), 3);
  add("no_width", whole("1", "0", "1", "0"), 0);
  add("product", whole("4", "0", "4", "4611686018427387904"), 0);
  add("much", whole("1", "0", "1", "4611686018427387904"), 0);
  std::string lists = whole("1", "0", "1", "3");
  lists.replace(lists.find("[0,1]"), 5, "[0]");
  add("lists", lists, 3);
  add("plain", R"({"case":"c","kind":"logits","model":"m","rows":0,"width":1,"runs":[]})", 0);
  add("syntax", "{", 0);
}

void chat_template() {
  namespace t = brim::test::templates;
  const std::pair<const char*, std::string_view> all[] = {{"llama2", t::kLlama2},
                                                          {"llama3", t::kLlama3},
                                                          {"llama31", t::kLlama31},
                                                          {"chatml", t::kChatml},
                                                          {"qwen25", t::kQwen25},
                                                          {"qwen3", t::kQwen3},
                                                          {"gemma", t::kGemma},
                                                          {"gemma3", t::kGemma3},
                                                          {"mistral_old", t::kMistralOld},
                                                          {"mistral_v1", t::kMistralV1},
                                                          {"mistral_v3", t::kMistralV3},
                                                          {"mistral_nemo", t::kMistralNemo},
                                                          {"mistral_v7", t::kMistralV7},
                                                          {"mistral_small", t::kMistralSmall},
                                                          {"phi3", t::kPhi3},
                                                          {"phi35", t::kPhi35},
                                                          {"phi4_mini", t::kPhi4Mini},
                                                          {"phi4", t::kPhi4}};
  using namespace std::string_view_literals;
  size_t i = 0;
  for (const auto& [name, source] : all) {
    // Conversations with and without a system message, in turn.
    const std::string_view talk = ++i % 2
                                      ? "\0system\0 be kind \0user\0 hello \0assistant\0<think>a</think>hi\0user\0bye"sv
                                      : "\0user\0hello\0assistant\0hi\0user\0bye \xC2\xA0"sv;
    write("chat_template", name, std::string(source) + std::string(talk));
  }
}

void tokenizer() {
  for (char kind = 0; kind < 15; ++kind) {
    const std::string head = {kind, static_cast<char>(kind % 4)};
    write("tokenizer", "text_" + std::to_string(kind),
          head +
              "The 1234th caf\xC3\xA9's   \xE6\x97\xA5\xE6\x9C\xAC\n\nab <|endoftext|> don't "
              "\xF0\x9F\x98\x80\xFF\xE2\x96");
  }
}

// ---- what a host makes ----

void saved_sequence() {
  brim_session* session = tiny_session();
  uint32_t sequence = 0;
  must([&](brim_error* e) { return brim_sequence_create(session, &sequence, e); });
  for (const char* name : {"empty", "one", "some"}) {
    std::string bytes = "\1";
    const auto put = [](void* user, const void* data, uint64_t n) -> uint32_t {
      static_cast<std::string*>(user)->append(static_cast<const char*>(data), n);
      return 0;
    };
    must([&](brim_error* e) { return brim_sequence_save(session, sequence, put, &bytes, e); });
    write("saved_sequence", std::string(name) + "_whole", '\0' + bytes.substr(1));
    bytes.resize(bytes.size() - 16);  // the target adds the checksum
    write("saved_sequence", name, bytes);
    std::vector<brim_row> rows(name[0] == 'e' ? 1 : 4);
    for (brim_row& row : rows) row.token = 5;
    brim_step step{};
    step.struct_size = sizeof(step);
    step.n_rows = static_cast<uint32_t>(rows.size());
    step.rows = rows.data();
    step.row_stride = sizeof(brim_row);
    must([&](brim_error* e) { return brim_session_step(session, &step, e); });
  }
  brim_session_destroy(session);
}

void c_abi() {
  uint32_t state = 1;
  for (int i = 0; i < 12; ++i) {
    std::string bytes(1, static_cast<char>(i % 4 != 0));
    while (bytes.size() < 300) {
      state = state * 1664525 + 1013904223;
      bytes.push_back(static_cast<char>(state >> 24));
    }
    write("c_abi", "random_" + std::to_string(i), bytes);
  }
}

}  // namespace

int main(int argc, char** argv) {
  expect(argc == 2, "usage", "fuzz_seeds FOLDER");
  root = argv[1];
  gguf();
  model();
  config();
  manifest();
  golden_case();
  chat_template();
  tokenizer();
  saved_sequence();
  c_abi();
  return 0;
}
