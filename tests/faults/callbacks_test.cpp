// What a host's own callbacks do to a call: at the n-th time, for every n, they stop it, cancel it, or answer nonsense.
// And files that go away, shrink or change under a model. The call ends with the status for it, and the objects serve
// on.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <functional>

#include "words.hpp"
#include "world.hpp"

using namespace brim::test;

namespace {

// Counts its calls; at the n-th it is the time.
struct Clock {
  uint64_t at = 0, calls = 0;
  brim_cancel* cancel = nullptr;

  bool now() { return ++calls == at; }
  bool came() const { return calls >= at; }
  static Clock& of(void* user) { return *static_cast<Clock*>(user); }
};

void BRIM_CALL cancel_in_progress(void* user, uint32_t, uint64_t, uint64_t) {
  if (Clock::of(user).now()) brim_cancel_fire(Clock::of(user).cancel);
}

// Makes a call for n = 1, 2, .. as long as the n-th time comes, with the status that is wanted then; `undo` after every
// one, and a clean call behind it. Returns how many there were.
uint64_t every(const std::string& what, brim_status wanted, const std::function<brim_status(Clock&, brim_error*)>& make,
               const std::function<void()>& undo) {
  Clock clock;
  must([&](brim_error* e) { return brim_cancel_create(&clock.cancel, e); });
  uint64_t n = 0;
  for (;;) {
    CAPTURE(what);
    CAPTURE(n);
    clock.at = ++n;
    clock.calls = 0;
    brim_error error = new_error();
    const brim_status status = make(clock, &error);
    undo();
    if (!clock.came()) {
      CHECK(status == BRIM_OK);
      break;
    }
    if (status != BRIM_OK || clock.calls > clock.at)
      CHECK(status == wanted);  // after the last time nothing is left to end
    if (status != BRIM_OK) CHECK(fault_of(error, "") == "");
    brim_cancel_reset(clock.cancel);
    clock.at = UINT64_MAX;
    must([&](brim_error* e) { return make(clock, e); });
    undo();
    REQUIRE(n < 10000);
  }
  brim_cancel_destroy(clock.cancel);
  return n - 1;
}

brim_generate_info generation(Clock& clock) {
  static constexpr int32_t kPrompt[] = {44, 45, 46, 47, 48, 49, 50, 51, 52};
  brim_generate_info info{};
  info.struct_size = sizeof(info);
  info.prompt = kPrompt;
  info.n_prompt = std::size(kPrompt);
  info.max_tokens = 8;
  info.ignore_end = 1;
  info.cancel = clock.cancel;
  info.user = &clock;
  return info;
}

}  // namespace

TEST_CASE("a callback that stops, cancels or answers nonsense ends the call and nothing else") {
  const Files files;
  World w(files);
  w.raise(Level::kSession);
  const auto trim = [&] { must([&](brim_error* e) { return brim_sequence_trim(w.session, 0, World::kHeld, e); }); };
  uint64_t total = 0;

  total += every(
      "saving stops at a write", BRIM_IO,
      [&](Clock& clock, brim_error* e) {
        const auto write = [](void* user, const void*, uint64_t) -> uint32_t { return Clock::of(user).now(); };
        return brim_sequence_save(w.session, 0, write, &clock, e);
      },
      [] {});

  std::string saved;
  must([&](brim_error* e) {
    const auto write = [](void* user, const void* data, uint64_t n) -> uint32_t {
      static_cast<std::string*>(user)->append(static_cast<const char*>(data), n);
      return 0;
    };
    return brim_sequence_save(w.session, 0, write, &saved, e);
  });
  // The bytes end at every length: a disk that was full when they were written.
  struct Source {
    Clock* clock;
    std::string_view rest;
  };
  const auto restore = [&](Clock& clock, std::string_view bytes, brim_error* e) {
    Source source{&clock, bytes};
    const auto read = [](void* user, void* data, uint64_t n) -> uint32_t {
      auto& from = *static_cast<Source*>(user);
      if (from.clock->now() || n > from.rest.size()) return 1;
      std::memcpy(data, from.rest.data(), n);
      from.rest.remove_prefix(n);
      return 0;
    };
    uint32_t made = 0;
    return brim_sequence_restore(w.session, read, &source, &made, e);
  };
  const auto remove = [&] { brim_sequence_remove(w.session, 1, nullptr); };
  total += every(
      "restoring stops at a read", BRIM_IO, [&](Clock& clock, brim_error* e) { return restore(clock, saved, e); },
      remove);
  for (size_t n = 0; n < saved.size(); ++n, ++total) {
    Clock never{UINT64_MAX};
    brim_error error = new_error();
    CHECK(restore(never, std::string_view(saved).substr(0, n), &error) == BRIM_IO);
    CHECK(fault_of(error, "sequence") == "");
  }
  for (size_t n = 0; n < saved.size(); ++n, ++total) {
    Clock never{UINT64_MAX};
    std::string damaged = saved;
    damaged[n] ^= 0x10;
    brim_error error = new_error();
    const brim_status status = restore(never, damaged, &error);
    CHECK_MESSAGE((status == BRIM_DATA_CORRUPT || status == BRIM_INCOMPATIBLE || status == BRIM_CONTEXT_FULL ||
                   status == BRIM_IO),
                  n << " " << error.message);
    CHECK(fault_of(error, "") == "");
  }

  total += every(
      "generating is cancelled from its text", BRIM_CANCELLED,
      [&](Clock& clock, brim_error* e) {
        brim_generate_info info = generation(clock);
        info.on_text = [](void* user, brim_str, int32_t) -> uint32_t {
          if (Clock::of(user).now()) brim_cancel_fire(Clock::of(user).cancel);
          return 0;
        };
        return brim_generate(w.session, &info, nullptr, e);
      },
      trim);
  total += every(
      "generating is cancelled from the progress of its prompt", BRIM_CANCELLED,
      [&](Clock& clock, brim_error* e) {
        brim_generate_info info = generation(clock);
        info.progress = cancel_in_progress;
        return brim_generate(w.session, &info, nullptr, e);
      },
      trim);
  total += every(
      "generating is stopped by its text", BRIM_OK,
      [&](Clock& clock, brim_error* e) {
        brim_generate_info info = generation(clock);
        info.on_text = [](void* user, brim_str, int32_t) -> uint32_t { return Clock::of(user).now(); };
        brim_generate_result result{};
        result.struct_size = sizeof(result);
        const brim_status status = brim_generate(w.session, &info, &result, e);
        CHECK(result.stop == (clock.came() ? BRIM_STOP_CALLBACK : BRIM_STOP_LENGTH));
        return status;
      },
      trim);
  total += every(
      "the host chooses a token that there is not", BRIM_INVALID_ARGUMENT,
      [&](Clock& clock, brim_error* e) {
        brim_generate_info info = generation(clock);
        info.choose = [](void* user, const float*, uint32_t n) -> int32_t {
          return Clock::of(user).now() ? static_cast<int32_t>(n) : 44;
        };
        return brim_generate(w.session, &info, nullptr, e);
      },
      trim);
  total += every(
      "the host writes a logit that is no number", BRIM_INVALID_ARGUMENT,
      [&](Clock& clock, brim_error* e) {
        brim_generate_info info = generation(clock);
        info.on_logits = [](void* user, float* logits, uint32_t) {
          if (Clock::of(user).now()) logits[7] = NAN;
        };
        return brim_generate(w.session, &info, nullptr, e);
      },
      trim);
  total += every(
      "quantizing is cancelled from its progress", BRIM_CANCELLED,
      [&](Clock& clock, brim_error* e) {
        brim_quantize_options options{};
        options.struct_size = sizeof(options);
        options.threads = 1;
        options.cancel = clock.cancel;
        options.user = &clock;
        options.progress = cancel_in_progress;
        const brim_status status = brim_quantize(str(files.model), str(files.out), str("F16"), &options, e);
        CHECK(std::filesystem::exists(files.out) == (status == BRIM_OK));
        return status;
      },
      [&] { std::filesystem::remove(files.out); });
  w.tear_down();
  w.raise(Level::kPlan);
  total += every(
      "loading is cancelled from its progress", BRIM_CANCELLED,
      [&](Clock& clock, brim_error* e) {
        brim_load_options options{};
        options.struct_size = sizeof(options);
        options.cancel = clock.cancel;
        options.user = &clock;
        options.progress = cancel_in_progress;
        return brim_model_load(w.model, w.plan, &options, e);
      },
      [&] { brim_model_unload(w.model, nullptr); });
  CHECK(w.take_misuse() == "");
  std::printf("%6llu callbacks stopped, cancelled or answered nonsense\n", static_cast<unsigned long long>(total));
}

TEST_CASE("a model file that goes away is still loaded; one that shrinks or is written to is refused by name") {
  for (const std::string how : {"removed", "shrunk", "written", "replaced"}) {
    CAPTURE(how);
    const Files files;
    World w(files);
    w.raise(Level::kPlan);
    const auto size = std::filesystem::file_size(files.model);
    if (how == "removed") std::filesystem::remove(files.model);
    if (how == "shrunk") std::filesystem::resize_file(files.model, size / 2);
    if (how == "written") std::ofstream(files.model, std::ios::app) << "more";
    if (how == "replaced") {
      std::filesystem::copy_file(files.model, files.model + "2");
      std::filesystem::rename(files.model + "2", files.model);
    }
    brim_error error = new_error();
    const brim_status status = brim_model_load(w.model, w.plan, nullptr, &error);
    if (how == "removed" || how == "replaced") {
      CHECK(status == BRIM_OK);  // the opened file is what it was
      continue;
    }
    CHECK(status == BRIM_FAILED_PRECONDITION);
    CHECK(fault_of(error, files.model) == "");
  }
}
