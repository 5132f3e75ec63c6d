// brim_generate: prompt in, text out. Runs in the caller's thread; the steps run on the engine's, together with those
// of other sessions.
//
// A step runs the last token and guesses of what follows it (lookahead.hpp). The sampler then goes through its rows in
// order, as it would through steps of one token, until it chooses something else than was guessed; what lies behind is
// trimmed. A row's bits do not depend on what else is in its step, so logits, draws and text are those of steps of one
// token, greedy or sampled.
#include <algorithm>
#include <base/pace.hpp>
#include <chrono>
#include <cmath>
#include <engine/lookahead.hpp>
#include <engine/session.hpp>
#include <engine/stop_filter.hpp>
#include <text/detokenizer.hpp>

namespace brim::engine {
namespace {

using Clock = std::chrono::steady_clock;

uint64_t since(Clock::time_point start) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
}

}  // namespace

// A recurrent state cannot be trimmed. Where a row's bits depend on its step, guesses would change the text.
bool Session::may_guess() const {
  const negotiator::Plan& plan = engine_->plan();
  for (uint32_t d = 0; d < plan.devices.size(); ++d) {
    if (!(plan.device(d).info.flags & BRIM_DEVICE_BATCH_INVARIANT)) return false;
  }
  return !engine_->with_sequences([](Sequences& s) { return s.has_recurrent(); });
}

void Session::generate(const brim_generate_info& info, const std::atomic<uint32_t>* cancel, Sampler* sampler,
                       const text::Tokenizer& tokenizer, brim_generate_result* result) {
  idle();
  const negotiator::Request& r = engine_->plan().request;
  const uint32_t n_vocab = engine_->plan().model->description->model.n_vocab;
  if (!(r.outputs >> BRIM_OUTPUT_LOGITS & 1))
    fail(BRIM_FAILED_PRECONDITION, "the plan has no logits among its outputs");
  Local& local = at(info.sequence);
  std::vector<int32_t> prompt(info.prompt, info.prompt + info.n_prompt);
  if (local.pending != kNone) prompt.insert(prompt.begin(), local.pending);
  if (prompt.empty()) {
    fail(BRIM_INVALID_ARGUMENT, "the prompt is empty and nothing waits to be run; begin with a BOS token");
  }
  for (const int32_t token : prompt) {
    if (token < 0 || static_cast<uint32_t>(token) >= n_vocab) {
      fail(BRIM_INVALID_ARGUMENT, "token {} of the prompt is outside of the vocabulary of {}", token, n_vocab);
    }
  }
  check_room(info.sequence, prompt.size());

  // The space that begins a text is dropped only where no text stands before.
  std::vector<int32_t> before = tokens(info.sequence);
  const auto special = [&](int32_t t) { return t >= 0 && tokenizer.is_special(t); };
  text::DecodeOptions decode;
  decode.text_start =
      std::all_of(before.begin(), before.end(), special) && std::all_of(prompt.begin(), prompt.end(), special);
  text::Detokenizer detokenizer(tokenizer, decode);
  std::vector<std::string> stops;
  for (uint32_t i = 0; i < info.n_stops; ++i) stops.emplace_back(view(info.stops[i]));
  StopFilter filter(std::move(stops));

  const uint32_t most_guessed =
      may_guess() ? std::min({info.lookahead, engine_->plan().max_outputs() - 1, r.n_batch - 1}) : 0;
  Lookahead lookahead(most_guessed);
  std::vector<int32_t> text = std::move(before), rows;  // all tokens, and those of the step in hand
  text.reserve(uint64_t{r.n_ctx} + 1);
  text.insert(text.end(), prompt.begin(), prompt.end());
  rows.reserve(uint64_t{1} + most_guessed);

  brim_generate_result done{};
  done.struct_size = sizeof(done);
  done.n_prompt = prompt.size();
  const auto start = Clock::now();

  // The prompt, in pieces where the host wants to see progress.
  const uint32_t before_prompt = length(info.sequence);
  Pace pace;
  try {
    const size_t piece = info.progress ? std::max<size_t>(r.n_batch, 1) : prompt.size();
    for (size_t at_token = 0; at_token < prompt.size(); at_token += piece) {
      const size_t n = std::min(piece, prompt.size() - at_token);
      run_tokens(info.sequence, std::span(prompt).subspan(at_token, n), 0, cancel);
      if (info.progress && pace.due(BRIM_STAGE_PREFILL, at_token + n, prompt.size())) {
        info.progress(info.user, BRIM_STAGE_PREFILL, at_token + n, prompt.size());
      }
    }
  } catch (...) {
    // As it was before the call.
    engine_->with_sequences([&](Sequences& s) {
      const auto id = static_cast<uint32_t>(local.id);
      if (before_prompt == 0 || before_prompt >= s.shortest(id)) s.trim(id, before_prompt);
    });
    if (result) *result = done;
    throw;
  }
  local.pending = kNone;
  if (sampler) {
    for (uint64_t i = 0; i < info.n_prompt; ++i) sampler->accept(info.prompt[i]);
  }
  done.prefill_ns = since(start);

  std::vector<float> changed;
  const auto pick = [&](uint32_t row) -> int32_t {
    std::span<const float> logits = output(BRIM_OUTPUT_LOGITS, row);
    if (info.on_logits) {
      changed.assign(logits.begin(), logits.end());
      info.on_logits(info.user, changed.data(), n_vocab);
      logits = changed;
    }
    if (info.choose) {
      const int32_t token = info.choose(info.user, logits.data(), n_vocab);
      if (token < 0 || static_cast<uint32_t>(token) >= n_vocab) {
        fail(BRIM_INVALID_ARGUMENT, "the host's sampler chose token {}, outside of the vocabulary of {}", token,
             n_vocab);
      }
      if (sampler) sampler->accept(token);
      return token;
    }
    if (sampler) return sampler->sample(logits.data());
    for (size_t i = 0; i < logits.size(); ++i) {
      if (std::isnan(logits[i])) {
        fail(BRIM_INVALID_ARGUMENT, "the logit of token {} is NaN; the model file is damaged, or a hook wrote it", i);
      }
    }
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  };
  const auto give = [&](std::string_view text, int32_t token) {
    return !info.on_text || info.on_text(info.user, str(text), token) == 0;
  };

  const uint64_t most = info.max_tokens ? info.max_tokens : UINT64_MAX;
  Clock::time_point first_token = start;
  const auto finish = [&](uint32_t stop) {
    done.stop = stop;
    if (done.n_generated > 1) done.decode_ns = since(first_token);
    if (result) *result = done;
  };
  uint32_t held = length(info.sequence);  // tokens that were run and are right
  uint32_t guessed = 0, right = 0;        // of the last step
  const auto forget_guesses = [&] {
    engine_->with_sequences([&](Sequences& s) { s.trim(static_cast<uint32_t>(local.id), held); });
  };
  const auto step = [&](int32_t token) {
    const uint64_t room = std::min<uint64_t>({most_guessed, r.n_ctx - held - 1, most - done.n_generated - 1});
    const std::span<const int32_t> guess = lookahead.guess(text, static_cast<uint32_t>(room));
    rows.assign(1, token);
    rows.insert(rows.end(), guess.begin(), guess.end());
    guessed = static_cast<uint32_t>(guess.size());
    try {
      run_tokens(info.sequence, rows, guessed, cancel);
    } catch (const Error& e) {
      if (e.code != BRIM_CONTEXT_FULL || guessed == 0) throw;
      guessed = 0;  // the pool may have room for the token alone
      run_tokens(info.sequence, {&token, 1}, 0, cancel);
    }
    right = 0;
    ++held;
    ++done.n_steps;
    done.n_guessed += guessed;
  };
  int32_t token = kNone;
  try {
    for (;;) {
      token = pick(right);
      local.pending = token;
      text.push_back(token);
      ++done.n_generated;
      if (done.n_generated == 1) {
        done.first_token_ns = since(start);
        first_token = Clock::now();
      }
      if (!info.ignore_end && tokenizer.is_end_of_generation(token)) {
        done.stop = BRIM_STOP_END;
        break;
      }
      const std::string_view piece = filter.push(detokenizer.push(token));
      if (!give(piece, token)) {
        done.stop = BRIM_STOP_CALLBACK;
        break;
      }
      if (filter.stopped()) {
        done.stop = BRIM_STOP_STRING;
        break;
      }
      if (done.n_generated >= most) {
        done.stop = BRIM_STOP_LENGTH;
        break;
      }
      if (held >= r.n_ctx) {
        done.stop = BRIM_STOP_CONTEXT;
        break;
      }
      if (right < guessed && rows[right + 1] == token) {
        ++right;
        ++held;
        ++done.n_right;
      } else {
        if (guessed != 0) lookahead.observe(guessed, right);
        forget_guesses();
        step(token);
      }
      local.pending = kNone;
    }
  } catch (...) {
    forget_guesses();
    finish(0);
    throw;
  }
  forget_guesses();
  finish(done.stop);
  if (done.stop == BRIM_STOP_CALLBACK || done.stop == BRIM_STOP_STRING) return;
  // What the decoder and the filter still hold.
  std::string rest(filter.push(detokenizer.flush()));
  rest += filter.flush();
  if (!rest.empty()) give(rest, token);
}

}  // namespace brim::engine
