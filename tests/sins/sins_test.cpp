// brim-check against plugins that sin: the saint passes everything, and of every sin the checker says what it is. The
// table is the claim: sin, the tests that are run, words of a finding.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "../support/gguf_builder.hpp"
#include "../support/temp_folder.hpp"
#include "sin_library.hpp"

namespace {

using Json = nlohmann::json;
using brim::test::TempFolder;

struct Caught {
  const char* sin;
  const char* tests;  // as --group takes them
  const char* words;  // in one finding
};

constexpr Caught kTable[] = {
    {"second_symbol", "load.exports", "exports 1 symbols beside brim_plugin_query: saint_helper"},
    {"manifest_of_another_id", "load.manifest", "plugin.id = \"test.other\", the library is \"test.saint\""},
    {"manifest_of_another_kind", "load.manifest", "plugin.kind = \"architecture\", the library is \"backend\""},
    {"manifest_of_another_minor", "load.manifest", "abi.minor = 0, the library's header 1"},
    {"manifest_wants_what_no_processor_has", "load.manifest", "names \"warp_drive\", which no host detects"},
    {"query_has_effects", "load.query-pure", "brim_plugin_query reads the environment"},
    {"query_has_effects", "load.query-pure", "brim_plugin_query allocates"},
    {"claims_every_major", "load.wrong-major", "which is not out yet, the header claims to have it"},
    {"false_build_flags", "load.build-flags", "does not import __asan_* and its build_flags have BRIM_BUILD_ASAN"},
    {"unknown_setting_taken", "load.unknown-setting", "the unknown setting \"no_such_setting\" was taken"},
    {"interface_by_its_beginning", "load.interfaces", "is not NULL; nobody defined it"},
    {"leak_per_instance", "load.create-100", "leak: 1 blocks of host memory"},
    {"instances_share_memory", "load.two-instances", "they share something global"},
    {"reads_the_environment", "load.create-100", "create reads the environment"},
    {"prints", "contract.short-info", "written to the standard streams, where a plugin has no business"},
    {"throws", "contract.ordinals", "died of SIGABRT"},

    {"error_without_code", "contract.ordinals", "but brim_error.code is ok"},
    {"error_without_words", "contract.ordinals", "no words in brim_error.message"},
    {"error_written_behind_its_size", "contract.short-errors", "in heap_info, a brim_error of 8 bytes"},
    {"error_written_on_success", "load.device-count", "brim_error was written though the call succeeded"},
    {"answer_written_behind_its_size", "contract.short-answers", "in device_info, an answer's struct of"},
    {"answer_changes_its_size", "contract.device-info", "struct_size of the answer was changed"},
    {"device_that_is_not_there", "contract.ordinals",
     "device_open behind the last device: expected an error, found ok"},
    {"info_changes", "contract.device-info", "device_info answers differently the second time"},
    {"budget_is_constant", "buffers.budget", "bytes before and 268435456 after 8388608 of them were taken"},
    {"buffers_misaligned", "buffers.alloc", "no multiple of its heap's alignment 256"},
    {"copy_from_the_beginning", "buffers.copy", "the target differs from what copies of any offset"},
    {"queue_wait_ignored", "buffers.host-signal", "a copy ran before the fence that its queue waits for was signalled"},
    {"deadline_is_ok", "buffers.fences", "fence_wait for a value that nobody signals: expected deadline, found ok"},
    {"fence_goes_back", "buffers.fences", "after fence_signal 3, which is less than 9: polling for 9"},

    {"value_stride_assumed", "contract.pure-planning", "misread where they lie further apart than they are large"},
    {"node_stride_assumed", "contract.pure-planning", "misread where they lie further apart than they are large"},
    {"binding_stride_assumed", "contract.stride-padding", "bindings that lie further apart than they are large"},
    {"state_stride_assumed", "contract.stride-padding", "states that lie further apart than they are large"},
    {"group_stride_assumed", "contract.group-strides", "KV groups that lie 56 bytes apart"},
    {"binding_tail_read", "contract.short-bindings",
     "died of SIGSEGV (Segmentation fault) in program_create, bindings that end with `bytes`"},
    {"attribute_tail_read", "contract.short-attributes", "died of SIGSEGV (Segmentation fault) in program_create"},
    {"run_read_past_its_size", "contract.short-info",
     "in program_run, brim_program_info, brim_graph, brim_bucket and brim_run of an older host"},

    {"claims_every_bit", "contract.caps", "caps claims the feature bits"},
    {"claims_every_revision", "contract.caps", "caps claims revision 9 of op 112"},
    {"says_yes_and_refuses", "ops.binary", "support said YES, and no program could be made"},
    {"support_changes_its_mind", "contract.pure-planning", "support: node"},
    {"soft_cap_ignored", "ops.attention", "ATTENTION f32 CAUSAL+SOFTCAP"},
    {"affine_soft_cap_ignored", "ops.affine-clamp", "AFFINE_CLAMP f32 SOFTCAP"},
    {"window_ignored", "ops.attention", "ATTENTION f32 CAUSAL+SLIDING_WINDOW"},
    {"layout_without_id", "states.layout", "layout_id is 0"},
    {"block_of_twelve", "states.layout", "12 tokens a block; a power of two was expected"},
    {"workspace_understated", "programs.thousand-runs", "the workspace, as measured,"},
    {"persistent_understated", "programs.measured",
     "says persistent 12292 for a bucket of 1 tokens; the program holds 24584 bytes"},
    {"measure_leaks", "contract.pure-planning", "program_measure leaves"},

    {"leak_per_program", "contract.program-leaks", "blocks more of host memory after 10 programs"},
    {"leak_per_run", "programs.no-allocation", "takes host memory"},
    {"leak_when_create_fails", "contract.unknown-numbers", "leak: 1 blocks of host memory"},
    {"leak_when_memory_ends", "faults.host-memory",
     "leak: 1 blocks of host memory are left after an allocation failed"},
    {"out_of_memory_not_looked_for", "faults.host-memory", "died of SIGSEGV"},
    {"out_of_memory_is_internal", "faults.host-memory", "expected out of memory, found internal error"},
    {"out_of_memory_without_detail", "buffers.too-much", "does not hold {heap, bytes requested, bytes available}"},
    {"lost_device_comes_back", "faults.device-lost", "on a device that was lost: expected device lost, found ok"},
    {"allocates_in_run", "programs.no-allocation", "program_run allocates (malloc and its kin: 1 calls"},
    {"takes_host_memory_in_run", "programs.no-allocation", "takes host memory"},
    {"own_thread", "programs.no-allocation", "team_run is where a plugin's threads come from"},
    {"team_in_team", "programs.thousand-runs", "team_run was called from inside of a team's task; it is not reentrant"},
    {"runs_on_its_makers_thread", "contract.thread-roles", "program_run on another thread than the program's maker"},
    {"scratch_shared_by_queues", "race.queues", "disturb each other"},
    {"graph_kept", "programs.info-gone", "in program_run"},
    {"pieces_ignored", "programs.pieces", "give another result than whole ones"},
    {"writes_past_an_output", "programs.thousand-runs", "written 0 bytes behind its end"},
    {"writes_a_weight", "programs.thousand-runs", "was written, which is only read"},
    {"writes_the_step_block", "programs.thousand-runs", "the step block was written, which is only read"},
    {"step_offset_ignored", "programs.thousand-runs", "in program_run"},
    {"step_layout_assumed", "programs.step-order", "their places are what brim_step_layout says"},
    {"position_baked", "programs.thousand-runs", "give other results than each sequence alone"},
    {"context_is_the_bucket", "programs.buckets", "in program_run"},
    {"adds_to_what_was_there", "programs.padding", "padding rows or memory that nobody wrote were read"},
    {"sums_depend_on_the_team", "programs.team", "with 2 threads the results are other bits than with 1"},
    {"sums_depend_on_other_rows", "programs.thousand-runs", "give other results than each sequence alone"},

    {"padding_rows_written", "states.untouched", "which no kv_slot of the step names"},
    {"discarded_rows_written", "states.untouched", "though every kv_slot is -1: discard"},
    {"cancel_ignored", "states.cancel", "was cancelled before it began went on to its end"},
    {"cancel_wipes_the_state", "states.cancel", "has written into block 0"},
    {"state_goes_back_where_it_was_read", "states.slots", "wrote"},
    {"zero_state_is_slot_zero", "states.slots", "state_read -1 is not the zero state"},
    {"export_is_not_canonical", "states.canonical", "K of token 1, value 0 is"},
    {"import_from_the_beginning", "states.moved", "goes on differently"},
};

constexpr Caught kFamilyTable[] = {
    {"family_reads_the_clock", "architectures.pure", "the same metadata gives another description or graph"},
    {"family_counts", "architectures.pure", "the same metadata gives another description or graph"},
    {"family_takes_every_file", "architectures.match", "match answers 50 for a file without metadata"},
    {"family_matches_by_the_tokenizer", "architectures.match", "with keys that it has nothing to do with"},
    {"family_names_no_key", "architectures.wrong-metadata", "bigram.context is missing: the error does not name it"},
    {"family_without_words", "architectures.wrong-metadata", "reports no words by builder.error"},
    {"family_guesses", "architectures.wrong-metadata", "bigram.norm_epsilon is a text"},
    {"family_cuts_numbers", "architectures.wrong-metadata", "bigram.width is 2^32 more than it was"},
    {"family_leaks", "architectures.leaks", "allocations behind"},
    {"family_hides_an_error", "architectures.wrong-metadata", "describe: model() was not called"},
};

struct Checked {
  int code = -1;
  Json tests = Json::array();
};

// A file of the family of family/.
std::string write_bigram(const TempFolder& folder) {
  const auto values = [](size_t n) { return std::vector<float>(n, 0.25f); };
  brim::test::GgufBuilder builder;
  builder.set("general.architecture", "bigram").set("bigram.norm_epsilon", 1e-5f);
  builder.set("bigram.width", uint32_t{8}).set("bigram.inner", uint32_t{12});
  builder.set("bigram.vocabulary", uint32_t{10}).set("bigram.context", uint32_t{64});
  builder.f32("token_embd.weight", {10, 8}, values(80)).f32("norm.weight", {8}, values(8));
  builder.f32("gate.weight", {12, 8}, values(96));
  builder.f32("up.weight", {12, 8}, values(96)).f32("down.weight", {8, 12}, values(96));
  builder.write(folder.path() / "bigram.gguf");
  return folder / "bigram.gguf";
}

Checked check(const std::string& library, const std::string& tests, const TempFolder& folder,
              const std::string& model = {}) {
  const std::string json = folder / "report.json", log = folder / "log.txt";
  const std::string command = std::string(BRIM_CHECK) + " " + library + " --seed 7 --json " + json +
                              (tests.empty() ? "" : " --group " + tests) + (model.empty() ? "" : " --model " + model) +
                              " > " + log + " 2>&1";
  std::filesystem::remove(json);
  const int status = std::system(command.c_str());
  Checked out;
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::ifstream in(json);
  const Json report = Json::parse(in, nullptr, false);
  if (report.is_object()) out.tests = report["tests"];
  return out;
}

std::string findings_of(const Checked& checked) {
  std::string out;
  for (const Json& test : checked.tests) {
    for (const Json& finding : test["findings"])
      out += "\n  " + test["name"].get<std::string>() + ": " + finding.get<std::string>();
  }
  return out.empty() ? "\n  nothing" : out;
}

SinManifest manifest_of(const std::string& sin) {
  SinManifest manifest;
  if (sin == "manifest_of_another_id") manifest.id = "test.other";
  if (sin == "manifest_of_another_kind") manifest.kind = "architecture";
  if (sin == "manifest_of_another_minor") manifest.minor = "0";
  if (sin == "manifest_wants_what_no_processor_has") manifest.cpu_features = "\"warp_drive\"";
  return manifest;
}

const SinManifest kFamilyManifest = {"test.family", "architecture", "1", ""};

void check_caught(const Caught& line, const std::string& library, const TempFolder& folder,
                  const std::string& model = {}) {
  const std::string sin = line.sin, tests = line.tests, words = line.words;
  REQUIRE_FALSE(library.empty());
  const Checked checked = check(library, tests, folder, model);
  const std::string findings = findings_of(checked);
  CHECK_MESSAGE(checked.code == 1, sin << ": brim-check ends with code " << checked.code << ", findings:" << findings);
  CHECK_MESSAGE(findings.find(words) != std::string::npos,
                sin << ": no finding of " << tests << " says \"" << words << "\", but:" << findings);
}

}  // namespace

TEST_CASE("every sin of the lists is in a table, and nothing else is") {
  std::set<std::string> listed, claimed;
#define BRIM_X(name, what) listed.insert(#name);
  BRIM_SINS(BRIM_X)
  BRIM_FAMILY_SINS(BRIM_X)
#undef BRIM_X
  listed.erase("none");
  for (const Caught& line : kTable) claimed.insert(line.sin);
  for (const Caught& line : kFamilyTable) claimed.insert(line.sin);
  CHECK(listed == claimed);
}

TEST_CASE("the saint passes every test") {
  const TempFolder folder;
  const Checked checked = check(make_sinner(BRIM_SAINT, folder.path() / "none", "none"), "", folder);
  CHECK_MESSAGE(checked.code == 0, "findings:" << findings_of(checked));
}

TEST_CASE("each sin is found, and its finding says what it is") {
  const TempFolder folder;
  for (const Caught& line : kTable) {
    const std::string sin = line.sin;
    const bool exports = sin == "second_symbol";
    check_caught(line,
                 make_sinner(exports ? BRIM_SAINT_EXPORTING : BRIM_SAINT, folder.path() / sin, exports ? "none" : sin,
                             manifest_of(sin)),
                 folder);
  }
}

TEST_CASE("the saint among architectures passes every test") {
  const TempFolder folder;
  const std::string saint = make_sinner(BRIM_SAINT_FAMILY, folder.path() / "none", "none", kFamilyManifest);
  make_sinner(BRIM_SAINT, folder.path() / "none", "none", {}, "backend");  // which runs what the family says
  const Checked checked = check(saint, "", folder, write_bigram(folder));
  CHECK_MESSAGE(checked.code == 0, "findings:" << findings_of(checked));
}

TEST_CASE("each sin of an architecture is found, and its finding says what it is") {
  const TempFolder folder;
  const std::string model = write_bigram(folder);
  for (const Caught& line : kFamilyTable) {
    check_caught(line, make_sinner(BRIM_SAINT_FAMILY, folder.path() / line.sin, line.sin, kFamilyManifest), folder,
                 model);
  }
}
