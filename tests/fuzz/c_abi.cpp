// The C ABI as a badly behaved host calls it: the bytes are a list of calls with their arguments, over a few places for
// handles of each kind. A place may be empty (NULL), objects may be of the wrong model or in the wrong state, sizes,
// counts and caps lie, buffers are exactly as large as is said. What the header forbids is not done: no handle is used
// after its destroy call, no session by two threads, no cancel token destroyed while a step has it, and what a config,
// a row or a callback points to stays while the call runs. At the end everything is destroyed, in an order that the
// bytes choose; the sanitizers see what was left behind.
//
// Not called: brim_runtime_bandwidth (0.3 s a call) and the threads of a host team.
#include <limits>

#include "c_abi_objects.hpp"

using brim::is_utf8;
using namespace brim::fuzz;

namespace {

constexpr size_t kCalls = 120;  // of one input

class Host : Objects {
 public:
  explicit Host(Input& in) : Objects(in) {}

  void run() {
    if (in_.flag()) prepare();
    for (size_t i = 0; i < kCalls && !in_.empty(); ++i) one_call();
    destroy_all();
  }

 private:
  // Two sessions with a sequence each at once, so that short inputs get far.
  void prepare() {
    for (Session* s : {&sessions_[0], &sessions_[1]}) {
      must([&](brim_error* e) { return brim_session_create(shared().model, &s->handle, e); });
      uint32_t sequence = 0;
      must([&](brim_error* e) { return brim_sequence_create(s->handle, &sequence, e); });
    }
    must([&](brim_error* e) { return brim_cancel_create(&cancels_[0], e); });
  }

  // ---- text ----

  void words() {
    brim_model* const m = any_model();
    std::vector<int32_t> tokens(in_.below(8));
    for (int32_t& t : tokens) t = in_.below(8) ? static_cast<int32_t>(in_.below(14)) : in_.number<int32_t>();
    switch (in_.below(8)) {
      case 0: {
        uint64_t need = 0;
        const brim_str given = text();
        const uint32_t flags = in_.below(5);
        int32_t* const to = in_.flag() ? tokens.data() : nullptr;
        attempt([&](brim_error* e) { return brim_tokenize(m, given, flags, to, tokens.size(), &need, e); });
        break;
      }
      case 1: {
        const uint32_t shown = in_.below(3);
        ask_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
          return brim_detokenize(m, tokens.data(), tokens.size(), shown, buf, cap, need, e);
        });
        break;
      }
      case 2: {
        Exact<brim_token_info> info({}, size_of<brim_token_info>(in_));
        attempt([&](brim_error* e) { return brim_token_get_info(m, in_.number<int8_t>(), info.get(), e); });
        static_cast<void>(brim_token_special(m, in_.below(7)));
        break;
      }
      case 3: {
        const brim_message talk[] = {{str_of("user"), text()}, {text(), text()}};
        // A stride that is not the array's own is a lie about all messages but the first.
        const bool lies = in_.below(8) == 0;
        const uint32_t stride = lies ? in_.below(sizeof(brim_message)) : uint32_t(sizeof(brim_message));
        const uint32_t n = in_.below(lies ? 2 : 3), prompt = in_.below(2);
        const brim_message* const messages = in_.below(8) ? talk : nullptr;
        bool utf8 = !lies;
        for (const brim_message& message : talk) {
          for (const brim_str& s : {message.role, message.content}) utf8 = utf8 && is_utf8({s.ptr, s.len});
        }
        ask_text([&](char* buf, uint64_t cap, uint64_t* need,
                     brim_error* e) { return brim_chat_render(m, messages, n, stride, prompt, buf, cap, need, e); },
                 utf8);
        break;
      }
      case 4: {
        brim_decoder* made = nullptr;
        if (attempt([&](brim_error* e) { return brim_decoder_create(m, &made, e); }) == BRIM_OK) {
          keep(decoders_, made, brim_decoder_destroy);
        }
        break;
      }
      case 5:
      case 6: {
        brim_decoder* const d = place(decoders_);
        brim_str given{};
        for (const int32_t token : tokens) {
          if (attempt([&](brim_error* e) { return brim_decoder_push(d, token, &given, e); }) == BRIM_OK) {
            expect(is_utf8(view_of(given)), "a decoder gives whole characters");
          }
        }
        if (in_.flag())
          attempt([&](brim_error* e) { return brim_decoder_flush(d, in_.below(8) ? &given : nullptr, e); });
        break;
      }
      default:
        brim_decoder_destroy(take(decoders_));
    }
  }

  // ---- sessions ----

  uint32_t sequence() { return in_.below(8) ? in_.below(3) : in_.number<uint32_t>(); }

  void session() {
    Session& s = place(sessions_);
    if (s.handle && in_.below(4)) return sequences(s.handle);
    if (s.handle) {
      brim_session_destroy(s.handle);
      s = {};
      return;
    }
    brim_session** const out = in_.below(8) ? &s.handle : nullptr;
    attempt([&](brim_error* e) { return brim_session_create(any_model(), out, e); });
    sequences(s.handle);
  }

  void sequences(brim_session* s) {
    static constexpr uint32_t kLengths[] = {0, 1, 5, 16, 17, BRIM_AUTO, 1000};
    const uint32_t what = in_.below(8), of = sequence(), n = in_.pick(kLengths);
    uint32_t out = 0;
    switch (what) {
      case 0:
        attempt([&](brim_error* e) { return brim_sequence_create(s, in_.below(8) ? &out : nullptr, e); });
        break;
      case 1:
        attempt([&](brim_error* e) { return brim_sequence_fork(s, of, n, &out, e); });
        break;
      case 2:
        attempt([&](brim_error* e) { return brim_sequence_trim(s, of, n, e); });
        break;
      case 3:
        attempt([&](brim_error* e) { return brim_sequence_remove(s, of, e); });
        break;
      case 4:
        attempt([&](brim_error* e) { return brim_sequence_length(s, of, &out, e); });
        break;
      case 5: {
        uint64_t need = 0;
        std::vector<int32_t> tokens(in_.below(40));
        int32_t* const to = in_.flag() ? tokens.data() : nullptr;
        attempt([&](brim_error* e) { return brim_sequence_tokens(s, of, to, tokens.size(), &need, e); });
        break;
      }
      case 6:
        save(s, of);
        break;
      default:
        restore(s);
    }
  }

  void save(brim_session* s, uint32_t of) {
    struct Sink {
      std::string bytes;
      size_t most;
    } sink{{}, in_.below(4) ? SIZE_MAX : in_.byte()};
    const auto write = [](void* user, const void* data, uint64_t bytes) -> uint32_t {
      auto& to = *static_cast<Sink*>(user);
      if (to.bytes.size() + bytes > to.most) return 1;
      to.bytes.append(static_cast<const char*>(data), bytes);
      return 0;
    };
    if (attempt([&](brim_error* e) { return brim_sequence_save(s, of, in_.below(16) ? +write : nullptr, &sink, e); }) ==
        BRIM_OK) {
      saved_ = std::move(sink.bytes);
    }
  }

  void restore(brim_session* s) {
    std::string bytes = saved_;
    if (!bytes.empty() && in_.below(4) == 0) bytes[in_.number<uint16_t>() % bytes.size()] ^= char(1 << in_.below(8));
    std::string_view rest = bytes;
    const auto read = [](void* user, void* data, uint64_t n) -> uint32_t {
      auto& from = *static_cast<std::string_view*>(user);
      if (n > from.size()) return 1;
      std::memcpy(data, from.data(), n);
      from.remove_prefix(n);
      return 0;
    };
    uint32_t out = 0;
    attempt([&](brim_error* e) { return brim_sequence_restore(s, in_.below(16) ? +read : nullptr, &rest, &out, e); });
  }

  // ---- steps ----

  void step() {
    Session& s = place(sessions_);
    static const float kEmbedding[kTinyWidth] = {1, -1, 0.5f, 0, 3, std::numeric_limits<float>::quiet_NaN(), -2, 1e30f};
    std::vector<brim_row> rows(in_.below(8) ? in_.below(12) : in_.below(60));
    for (brim_row& row : rows) {
      row.token = in_.below(16) ? static_cast<int32_t>(in_.below(kTinyVocabulary)) : in_.number<int32_t>();
      row.sequence = in_.below(8) ? 0 : sequence();
      row.outputs = in_.below(8);
      if (in_.below(16) == 0) row.adapter = in_.number<int8_t>();
      if (in_.below(8) == 0) row.embedding = kEmbedding;
      if (in_.below(8) == 0) {
        row.n_position = in_.below(5);
        for (int32_t& p : row.position) p = in_.number<int16_t>();
      }
    }
    const int token = in_.below(4) ? -1 : static_cast<int>(in_.below(kPlaces));
    brim_step given{};
    given.n_rows = static_cast<uint32_t>(rows.size());
    given.rows = rows.empty() && in_.flag() ? nullptr : rows.data();
    given.row_stride = in_.below(16) ? uint32_t(sizeof(brim_row)) : in_.below(sizeof(brim_row));
    given.cancel = token < 0 ? nullptr : cancels_[static_cast<size_t>(token)];
    Exact<brim_step> step(given, in_.below(16) ? uint32_t(sizeof(given)) : size_of<brim_step>(in_));
    if (in_.flag()) {
      attempt([&](brim_error* e) { return brim_session_step(s.handle, step.get(), e); });
      return;
    }
    if (attempt([&](brim_error* e) { return brim_session_submit(s.handle, step.get(), e); }) == BRIM_OK)
      s.cancel = token;
    if (token >= 0 && in_.flag()) brim_cancel_fire(cancels_[static_cast<size_t>(token)]);
  }

  void wait() {
    Session& s = place(sessions_);
    static constexpr uint64_t kTimes[] = {0, 1, 1000, 100000, UINT64_MAX};
    const brim_status status = attempt([&](brim_error* e) { return brim_session_wait(s.handle, in_.pick(kTimes), e); });
    if (status != BRIM_DEADLINE) s.cancel = -1;
  }

  void output() {
    const float* values = nullptr;
    uint32_t n = 0;
    brim_session* const s = place(sessions_).handle;
    const uint32_t role = in_.below(6), i = in_.below(12);
    if (attempt([&](brim_error* e) { return brim_session_output(s, role, i, &values, &n, e); }) != BRIM_OK) {
      return;
    }
    float sum = 0;
    for (uint32_t v = 0; v < n; ++v) sum += values[v];
    [[maybe_unused]] volatile float kept = sum;
  }

  // ---- sampling and generating ----

  float number() {
    static constexpr float kNumbers[] = {0,
                                         1,
                                         0.5f,
                                         0.9f,
                                         2,
                                         -1,
                                         1e9f,
                                         64,
                                         -1e9f,
                                         1e-30f,
                                         std::numeric_limits<float>::infinity(),
                                         std::numeric_limits<float>::quiet_NaN()};
    return in_.pick(kNumbers);
  }

  void sampler() {
    brim_sampler* const p = place(samplers_);
    float logits[64];
    for (float& l : logits) l = in_.below(16) ? static_cast<float>(in_.number<int8_t>()) : number();
    int32_t token = 0;
    switch (in_.below(6)) {
      case 0:
      case 1:
        make_sampler();
        break;
      case 2:
      case 3:
        if (attempt([&](brim_error* e) {
              return brim_sampler_sample(p, in_.below(16) ? logits : nullptr, &token, e);
            }) == BRIM_OK) {
          expect(token >= 0 && token < 64, "a sampler draws a token of its vocabulary");
        }
        break;
      case 4:
        attempt([&](brim_error* e) { return brim_sampler_accept(p, in_.number<int8_t>(), e); });
        brim_sampler_reset(in_.flag() ? p : nullptr);
        break;
      default:
        brim_sampler_destroy(take(samplers_));
    }
  }

  void make_sampler() {
    brim_sampling s{};
    s.top_k = in_.below(16);
    s.temperature = number();
    if (in_.flag()) s.top_p = number();
    if (in_.flag()) s.min_p = number();
    if (in_.flag()) s.typical_p = number();
    if (in_.flag()) s.repetition_penalty = number();
    if (in_.flag()) s.frequency_penalty = number();
    if (in_.flag()) s.presence_penalty = number();
    s.penalty_last_n = in_.below(4) ? in_.byte() : in_.number<uint32_t>();
    s.seed = in_.byte();
    const brim_logit_bias biases[] = {{in_.number<int8_t>(), number()}, {3, 1}};
    s.biases = in_.below(8) ? biases : nullptr;
    s.n_biases = in_.below(3);
    s.bias_stride = in_.below(8) ? uint32_t(sizeof(brim_logit_bias)) : in_.below(sizeof(brim_logit_bias));
    Exact<brim_sampling> given(s, size_of<brim_sampling>(in_));
    const uint32_t n_vocab = in_.below(4) ? kTinyVocabulary : in_.below(65);
    brim_sampler* made = nullptr;
    if (attempt([&](brim_error* e) { return brim_sampler_create(given.get(), n_vocab, &made, e); }) == BRIM_OK) {
      keep(samplers_, made, brim_sampler_destroy);
    }
  }

  struct Talk {
    brim_cancel* cancel;
    uint32_t stop_at, fire_at, chosen, calls;
  };

  void generate() {
    brim_session* const s = place(sessions_).handle;
    Talk talk{place(cancels_), in_.below(8) ? 1000u : in_.below(5), in_.below(8) ? 1000u : in_.below(5), in_.byte(), 0};
    std::vector<int32_t> prompt(in_.below(8));
    for (int32_t& t : prompt)
      t = in_.below(16) ? static_cast<int32_t>(in_.below(kTinyVocabulary)) : in_.number<int32_t>();
    const brim_str stops[] = {str_of("ab"), text()};
    brim_generate_info info{};
    info.sequence = sequence();
    info.prompt = in_.below(16) ? prompt.data() : nullptr;
    info.n_prompt = prompt.size();
    info.max_tokens = in_.below(8) ? 1 + in_.below(6) : 0;
    info.sampler = place(samplers_);
    info.stops = in_.below(8) ? stops : nullptr;
    info.n_stops = in_.below(3);
    info.ignore_end = in_.flag();
    info.cancel = talk.cancel;
    info.user = &talk;
    info.on_text = [](void* user, brim_str piece, int32_t) -> uint32_t {
      auto& t = *static_cast<Talk*>(user);
      expect(is_utf8(view_of(piece)), "generated text is whole characters");
      if (++t.calls >= t.fire_at) brim_cancel_fire(t.cancel);
      return t.calls >= t.stop_at;
    };
    if (in_.below(4) == 0) {
      info.progress = [](void*, uint32_t, uint64_t done, uint64_t total) {
        expect(done <= total, "progress does not pass its end");
      };
    }
    if (in_.below(4) == 0) {
      info.on_logits = [](void* user, float* logits, uint32_t n) {
        std::fill_n(logits, n, static_cast<Talk*>(user)->chosen & 1 ? std::numeric_limits<float>::quiet_NaN() : 1.0f);
      };
    }
    if (in_.below(4) == 0) {
      info.choose = [](void* user, const float*, uint32_t n) -> int32_t {
        return static_cast<int32_t>(static_cast<Talk*>(user)->chosen % (n + 1));
      };
    }
    Exact<brim_generate_info> given(info, in_.below(16) ? uint32_t(sizeof(info)) : size_of<brim_generate_info>(in_));
    Exact<brim_generate_result> result({}, size_of<brim_generate_result>(in_));
    attempt([&](brim_error* e) { return brim_generate(s, given.get(), in_.flag() ? result.get() : nullptr, e); });
  }

  // ---- cancel tokens and quantizing ----

  void cancel() {
    const uint32_t i = in_.below(kPlaces);
    brim_cancel*& c = cancels_[i];
    switch (in_.below(4)) {
      case 0:
        if (!c) attempt([&](brim_error* e) { return brim_cancel_create(&c, e); });
        break;
      case 1:
        brim_cancel_fire(c);
        break;
      case 2:
        brim_cancel_reset(c);
        break;
      default:
        for (const Session& s : sessions_) {
          if (s.handle && s.cancel == static_cast<int>(i)) return;  // a step has it
        }
        brim_cancel_destroy(std::exchange(c, nullptr));
    }
  }

  void quantize() {
    static constexpr const char* kTypes[] = {"Q8_0", "F16", "Q4_K_M", "F32", "nothing"};
    brim_quantize_options options{};
    options.threads = 1;
    options.cancel = place(cancels_);
    Exact<brim_quantize_options> given(options, size_of<brim_quantize_options>(in_));
    const brim_str from = path(), to = in_.below(8) ? str_of(files().out) : str_of("/no/such/folder/out.gguf");
    const brim_str type = str_of(in_.pick(kTypes));
    const brim_quantize_options* const how = in_.flag() ? given.get() : nullptr;
    attempt([&](brim_error* e) { return brim_quantize(from, to, type, how, e); });
  }

  void one_call() {
    switch (in_.below(20)) {
      case 0:
        return configure();
      case 1:
        return runtime();
      case 2:
      case 3:
        return model();
      case 4:
      case 5:
        return plan();
      case 6:
      case 7:
        return words();
      case 8:
      case 9:
      case 10:
        return session();
      case 11:
      case 12:
      case 13:
        return step();
      case 14:
        return wait();
      case 15:
        return output();
      case 16:
        return sampler();
      case 17:
      case 18:
        return generate();
      default:
        return in_.below(4) ? cancel() : quantize();
    }
  }

  std::string saved_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  Host(in).run();
  return 0;
}
