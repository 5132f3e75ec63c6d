// Which architecture plugin opens a model where two know its file equally well: nobody decides that silently, and the
// host's word, once for all models or for one, wins over every match.
#include <doctest/doctest.h>

#include <brim/brim.hpp>
#include <string>

#include "../support/gguf_builder.hpp"
#include "../support/temp_folder.hpp"

// tests/fakes/backend.c: a runtime does not open without a device.
extern "C" const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t host_major);

namespace {

// Both plugins recognise files of the architecture "fake", each with the full score.
brim::Runtime runtime_with_both(const brim::Config& config) {
  static const brim_plugin_query_fn backend = brim_plugin_query;
  static const std::string folders[] = {BRIM_BINARY_DIR "/tests/plugins/good", BRIM_BINARY_DIR "/tests/plugins/equal"};
  const brim_str names[] = {brim::str(folders[0]), brim::str(folders[1])};
  auto info = brim::sized<brim_runtime_config>();
  info.config = config.get();
  info.static_plugins = &backend;
  info.n_static_plugins = 1;
  info.plugin_dirs = names;
  info.n_plugin_dirs = 2;
  info.threads = 1;
  return brim::Runtime(info);
}

struct File {
  brim::test::TempFolder folder;
  std::string path = folder / "fake.gguf";
  explicit File(const char* architecture = "fake") {
    brim::test::GgufBuilder file;
    file.set("general.architecture", architecture).f32("x", {4}, {1, 2, 3, 4}).write(path);
  }
};

std::string opened_by(const brim::Runtime& runtime, const File& file, std::string_view plugin = {}) {
  const brim::Model model(runtime, file.path, plugin);
  return std::string(brim::view(model.info().architecture_plugin));
}

// Status and message of an opening that has to fail.
brim_error refusal(const brim::Runtime& runtime, const File& file, std::string_view plugin = {}) {
  auto error = brim::sized<brim_error>();
  brim_model* model = nullptr;
  const brim_status status = brim_model_open(runtime.get(), brim::str(file.path), brim::str(plugin), &model, &error);
  CHECK(model == nullptr);
  CHECK(status == error.code);
  return error;
}
bool names(const brim_error& error, std::string_view part) {
  return std::string_view(error.message).find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("two plugins that know a file equally well are an error that names both, the file, and the ways to choose") {
  const brim::Config config;
  const brim::Runtime runtime = runtime_with_both(config);
  const File file;
  const brim_error error = refusal(runtime, file);
  INFO(error.message);
  CHECK(error.code == BRIM_INVALID_ARGUMENT);
  for (const char* part : {"test.fake", "test.equal", "fake.gguf", "runtime.architecture", "--architecture"}) {
    CHECK(names(error, part));
  }
}

TEST_CASE("the host's choice for one model wins over the match") {
  const brim::Config config;
  const brim::Runtime runtime = runtime_with_both(config);
  const File file;
  CHECK(opened_by(runtime, file, "test.equal") == "test.equal");
  CHECK(opened_by(runtime, file, "test.fake") == "test.fake");
  const File alien("alien");
  CHECK(opened_by(runtime, alien) == "");
  CHECK(opened_by(runtime, alien, "test.equal") == "test.equal");
}

TEST_CASE("the configuration's choice holds for every model, and the one for a single model wins over it") {
  brim::Config config;
  config.set("runtime.architecture", "test.equal");
  const brim::Runtime runtime = runtime_with_both(config);
  const File file;
  CHECK(opened_by(runtime, file) == "test.equal");
  CHECK(opened_by(runtime, file, "test.fake") == "test.fake");
}

TEST_CASE("a choice that is not loaded is an error that names it and what is loaded") {
  brim::Config config;
  config.set("runtime.architecture", "llama");  // short for brim.llama, as in the tables of a configuration
  const brim::Runtime runtime = runtime_with_both(config);
  const brim_error error = refusal(runtime, File());
  INFO(error.message);
  CHECK(error.code == BRIM_NOT_FOUND);
  for (const char* part : {"brim.llama", "test.fake", "test.equal"}) CHECK(names(error, part));
}
