// Whatever fails underneath, a host lives on: every function of brim.h is called while the n-th allocation, file call,
// thread or call of a plugin fails, for every n until nothing fails any more. Each time the status is the one that
// belongs to what failed, the words can be read by a person, and the same call made again on the same objects gives the
// same result as if nothing had happened. At the end of every function nothing is left: no byte, no file, no misuse.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "calls.hpp"
#include "words.hpp"

using namespace brim::test;

namespace {

size_t open_files() {
  const auto all = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

std::string clean_result(World& world, const Call& call) {
  std::string result;
  world.raise(call.level);
  if (call.prepare) call.prepare(world);
  must([&](brim_error* e) { return call.make(world, e, &result); });
  if (call.undo) call.undo(world);
  return result;
}

// What came of a call with something failing underneath.
struct Outcome {
  brim_status status = BRIM_OK;
  brim_error error = new_error();
  std::string result;
};

// Runs a call again and again: fail(n) places the n-th order, fired() withdraws it and says whether something failed,
// judge(outcome) says what is wrong with what came of it. `again`: the objects have to serve after the failure, else
// they are made anew. Returns how many failures there were.
template <class Fail, class Fired, class Judge>
uint64_t series(const Files& files, const Call& call, const std::string& kind, bool again, const Fail& fail,
                const Fired& fired, const Judge& judge) {
  World world(files);
  const std::string wanted = clean_result(world, call);
  world.tear_down();
  const int64_t bytes = live_bytes();
  const size_t handles = open_files();
  uint64_t n = 1;
  for (;; ++n) {
    Outcome out;
    world.raise(call.level);
    if (call.prepare) call.prepare(world);
    fail(n);
    out.status = call.make(world, &out.error, &out.result);
    if (!fired()) {
      if (out.result != wanted) FAIL_CHECK(call.function << ": gives something else where nothing failed");
      if (call.undo) call.undo(world);
      break;
    }
    std::string wrong = judge(out);
    if (wrong.empty() && out.status == BRIM_OK && out.result != wanted) wrong = "says OK, and gives something else";
    if (wrong.empty() && out.status != BRIM_OK && out.error.code != out.status) wrong = "the code is not the status";
    // Where memory ends there is none for a name.
    const std::string_view thing = out.status == BRIM_OUT_OF_MEMORY ? "" : call.thing;
    if (wrong.empty() && out.status != BRIM_OK) wrong = fault_of(out.error, thing);
    if (call.undo) call.undo(world);
    if (!again) world.tear_down();
    if (wrong.empty() && clean_result(world, call) != wanted) wrong = "afterwards the call gives something else";
    if (wrong.empty()) wrong = world.take_misuse();
    if (!wrong.empty()) {
      FAIL_CHECK(call.function << ", " << kind << " " << n << ": " << wrong << " [" << brim_status_name(out.status)
                               << ": " << out.error.message << "]");
    }
    REQUIRE(n < 100000);
  }
  world.tear_down();
  CHECK_MESSAGE(world.take_misuse() == "", call.function);
  CHECK_MESSAGE(live_bytes() - bytes == 0, call.function << ", " << kind << ": bytes left behind");
  CHECK_MESSAGE(open_files() == handles, call.function << ", " << kind << ": files left open");
  return n - 1;
}

void tell(const char* what, uint64_t total) { std::printf("%6llu %s\n", static_cast<unsigned long long>(total), what); }

std::string expected(brim_status wanted, const Outcome& out) {
  if (out.status == wanted) return {};
  return std::string("the status should be ") + brim_status_name(wanted);
}

}  // namespace

TEST_CASE("whichever allocation fails, alone or with all after it, the call says out of memory and can be made again") {
  const Files files;
  uint64_t total = 0;
  for (const Call& call : calls()) {
    for (const bool for_ever : {false, true}) {
      total += series(
          files, call, for_ever ? "memory ends at allocation" : "allocation", true,
          [&](uint64_t n) {
            place({Service::kMemory, n, for_ever, 0});
          },
          withdraw,
          [&](const Outcome& out) -> std::string {
            if (out.status == BRIM_OK) return {};
            // A backend that finds no memory is refused, and here there is no other.
            const bool backend = std::string_view(out.error.message).find("no host memory") != std::string_view::npos;
            return expected(call.function == "brim_runtime_create" && backend ? BRIM_NOT_FOUND : BRIM_OUT_OF_MEMORY,
                            out);
          });
    }
  }
  tell("allocations failed", total);
  CHECK(total >= 5000);
}

TEST_CASE(
    "whichever call of a plugin fails, with whatever status and words, that status comes out and names the plugin") {
  struct Kind {
    brim_status status;
    Words words = Words::kUsual;
    bool for_ever = false;
  };
  std::vector<Kind> kinds;
  for (brim_status s = BRIM_CANCELLED; s <= BRIM_CONTEXT_FULL; ++s) kinds.push_back({s});
  kinds.push_back({77});  // of a newer minor
  kinds.push_back({BRIM_IO, Words::kNone});
  kinds.push_back({BRIM_IO, Words::kGarbage});
  kinds.push_back({BRIM_DEVICE_LOST, Words::kUsual, true});
  const Files files;
  uint64_t total = 0;
  for (const Call& call : calls()) {
    for (const Kind& kind : kinds) {
      const char* function = nullptr;
      total += series(
          files, call,
          std::string(brim_status_name(kind.status)) + (kind.for_ever ? " from call" : " at call") + " of a plugin",
          !kind.for_ever,
          [&](uint64_t n) {
            place(PluginOrder{n, kind.status, kind.words, kind.for_ever});
          },
          [&] { return (function = withdraw_from_plugins()) != nullptr; },
          [&](const Outcome& out) -> std::string {
            const std::string_view words = out.error.message;
            const auto says = [&](std::string_view text) { return words.find(text) != words.npos; };
            // A device whose memory cannot be told has none to give, for the moment.
            if (std::string_view(function) == "heap_budget") return {};
            // One that does not say what it supports supports nothing: another may do, or an answer that came before.
            const bool unsupported = std::string_view(function) == "support";
            if (unsupported && out.status == BRIM_OK) return {};
            // KV of a type that the device does not store is no step down that could be offered.
            if (kind.status == BRIM_UNSUPPORTED && std::string_view(function) == "state_layout" &&
                out.status == BRIM_OK)
              return {};
            // That a step was cancelled needs no words of the device.
            if (kind.status == BRIM_CANCELLED && std::string_view(function) == "program_run")
              return expected(BRIM_CANCELLED, out);
            if (kind.words == Words::kUsual && !says(kPluginSays))
              return std::string("the words are lost of ") + function;
            if (!says("test.async") && !says("async fake") && !says("brim.llama") && !says("small.gguf")) {
              return std::string("names neither device nor plugin nor file; ") + function + " failed";
            }
            if (call.function == "brim_runtime_create") return expected(BRIM_NOT_FOUND, out);
            if (unsupported) return expected(BRIM_UNSUPPORTED, out);
            return expected(kind.status > BRIM_CONTEXT_FULL ? BRIM_INTERNAL : kind.status, out);
          });
    }
  }
  tell("calls of plugins failed", total);
  CHECK(total >= 3000);
}

TEST_CASE("whichever call of the file system fails, the status tells why and the words name the file") {
  struct Kind {
    int error;
    brim_status status;
  };
  constexpr Kind kKinds[] = {{ENOENT, BRIM_NOT_FOUND},
                             {EACCES, BRIM_PERMISSION_DENIED},
                             {EROFS, BRIM_PERMISSION_DENIED},
                             {EIO, BRIM_IO},
                             {ENOSPC, BRIM_IO},
                             {EMFILE, BRIM_IO},
                             {ENOMEM, BRIM_OUT_OF_MEMORY},
                             {EINTR, BRIM_IO},
                             {0, BRIM_DATA_CORRUPT}};
  const Files files;
  uint64_t total = 0;
  for (const Call& call : calls()) {
    for (const Kind& kind : kKinds) {
      total += series(
          files, call, "error " + std::to_string(kind.error) + " of file call", true,
          [&](uint64_t n) {
            place({Service::kFiles, n, false, kind.error});
          },
          withdraw,
          [&](const Outcome& out) -> std::string {
            if (out.status == BRIM_OK) {
              // What was interrupted goes on, a disk may take less than it was given, a manifest that cannot be read is
              // refused alone, and an output that cannot be looked at is not the input.
              const std::string& f = call.function;
              const bool hidden = kind.status == BRIM_NOT_FOUND || kind.status == BRIM_PERMISSION_DENIED;
              const bool fine = kind.error == EINTR || kind.error == 0 || f == "brim_runtime_create" ||
                                (f == "brim_quantize" && hidden);
              return fine ? std::string() : "the failure is not told";
            }
            const std::string_view words = out.error.message;
            if (words.find(files.folder.path().string()) == words.npos) return "names no file";
            if (kind.error == 0)
              return out.status == BRIM_FAILED_PRECONDITION ? std::string() : expected(kind.status, out);
            if (out.error.native_code != kind.error || out.error.domain != BRIM_DOMAIN_OS)
              return "hides the system's code";
            return expected(kind.status, out);
          });
    }
  }
  tell("file calls failed", total);
  CHECK(total >= 100);
}

TEST_CASE("where the system gives no further thread, the call says so and can be made again") {
  const Files files;
  uint64_t total = 0;
  for (const Call& call : calls()) {
    total += series(
        files, call, "thread", true,
        [](uint64_t n) {
          place({Service::kThreads, n, false, 0});
        },
        withdraw,
        [](const Outcome& out) -> std::string {
          if (out.status == BRIM_OK) return {};  // it went on with fewer
          if (std::string_view(out.error.message).find("thread") == std::string_view::npos)
            return "does not say thread";
          return expected(BRIM_BUSY, out);
        });
  }
  tell("threads refused", total);
  CHECK(total >= 1);
}
