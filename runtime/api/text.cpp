// Tokens, the streaming decoder and chat templates.
#include <api/guard.hpp>
#include <api/handles.hpp>

using namespace brim;
using namespace brim::api;

namespace {

const Model& model_of(brim_model* handle) { return *need(handle, "model").model; }

uint32_t flags_of(const text::Tokenizer& tokenizer, int32_t token) {
  uint32_t flags = tokenizer.is_end_of_generation(token) ? BRIM_TOKEN_END_OF_GENERATION : 0;
  switch (tokenizer.vocabulary().type(token)) {
    case text::TokenType::kControl:
      return flags | BRIM_TOKEN_CONTROL;
    case text::TokenType::kByte:
      return flags | BRIM_TOKEN_BYTE;
    case text::TokenType::kUnknown:
      return flags | BRIM_TOKEN_UNKNOWN;
    case text::TokenType::kUserDefined:
      return flags | BRIM_TOKEN_USER_DEFINED;
    case text::TokenType::kNormal:
    case text::TokenType::kUnused:
      break;
  }
  return flags;
}

}  // namespace

brim_status brim_tokenize(brim_model* model, brim_str text, uint32_t flags, int32_t* tokens, uint64_t cap,
                          uint64_t* need_tokens, brim_error* error) {
  return guard(error, [&] {
    if (flags & ~(BRIM_TOKENIZE_SPECIAL | BRIM_TOKENIZE_PARSE_SPECIAL)) {
      fail(BRIM_UNSUPPORTED, "tokenize flags {:#x} are not known", flags);
    }
    need(need_tokens, "need");
    text::EncodeOptions options;
    options.add_special = (flags & BRIM_TOKENIZE_SPECIAL) != 0;
    options.parse_special = (flags & BRIM_TOKENIZE_PARSE_SPECIAL) != 0;
    write_tokens(model_of(model).require_tokenizer().encode(read_text(text, "text"), options), tokens, cap,
                 need_tokens);
  });
}

brim_status brim_detokenize(brim_model* model, const int32_t* tokens, uint64_t n, uint32_t render_special, char* buf,
                            uint64_t cap, uint64_t* need_bytes, brim_error* error) {
  return guard(error, [&] {
    if (n) need(tokens, "tokens");
    text::DecodeOptions options;
    options.render_special = render_special != 0;
    write_text(model_of(model).require_tokenizer().decode({tokens, static_cast<size_t>(n)}, options), buf, cap,
               need_bytes);
  });
}

brim_status brim_token_get_info(brim_model* model, int32_t token, brim_token_info* out, brim_error* error) {
  return guard(error, [&] {
    const text::Tokenizer& tokenizer = model_of(model).require_tokenizer();
    const text::Vocabulary& vocabulary = tokenizer.vocabulary();
    if (!vocabulary.contains(token)) {
      fail(BRIM_INVALID_ARGUMENT, "token {} is outside the vocabulary of {} tokens", token, vocabulary.size());
    }
    brim_token_info info{};
    info.flags = flags_of(tokenizer, token);
    info.text = str(vocabulary.text(token));
    write_struct(out, info, "brim_token_info");
  });
}

int32_t brim_token_special(brim_model* model, uint32_t which) {
  if (!model || !model->model->tokenizer) return text::kNoToken;
  const text::SpecialTokens& special = model->model->tokenizer->vocabulary().special;
  switch (which) {
    case BRIM_TOKEN_BOS:
      return special.bos;
    case BRIM_TOKEN_EOS:
      return special.eos;
    case BRIM_TOKEN_UNK:
      return special.unk;
    case BRIM_TOKEN_PAD:
      return special.pad;
    default:
      return text::kNoToken;
  }
}

brim_status brim_decoder_create(brim_model* handle, brim_decoder** out, brim_error* error) {
  return guard(error, [&] {
    need(out, "out") = nullptr;
    const auto& model = need(handle, "model").model;
    *out = new brim_decoder{model, text::Detokenizer(model->require_tokenizer())};
  });
}

brim_status brim_decoder_push(brim_decoder* decoder, int32_t token, brim_str* text, brim_error* error) {
  return guard(error, [&] {
    need(text, "text") = {nullptr, 0};
    *text = str(need(decoder, "decoder").detokenizer.push(token));
  });
}

brim_status brim_decoder_flush(brim_decoder* decoder, brim_str* text, brim_error* error) {
  return guard(error, [&] {
    need(text, "text") = {nullptr, 0};
    *text = str(need(decoder, "decoder").detokenizer.flush());
  });
}

void brim_decoder_destroy(brim_decoder* decoder) { delete decoder; }

brim_status brim_chat_render(brim_model* handle, const brim_message* messages, uint32_t n, uint32_t stride,
                             uint32_t add_generation_prompt, char* buf, uint64_t cap, uint64_t* need_bytes,
                             brim_error* error) {
  return guard(error, [&] {
    const Model& model = model_of(handle);
    std::vector<text::Message> conversation;
    for (uint32_t i = 0; i < n; ++i) {
      const auto m = read_element<brim_message>(messages, stride, i, "brim_message");
      conversation.push_back({read_text(m.role, "role"), read_text(m.content, "content")});
    }
    const auto found =
        text::ChatTemplate::from_metadata(model.open->file.metadata(), model.require_tokenizer().vocabulary());
    write_text(found.render(conversation, add_generation_prompt != 0), buf, cap, need_bytes);
  });
}
