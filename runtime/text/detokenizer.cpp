#include <text/detokenizer.hpp>
#include <text/unicode.hpp>

namespace brim::text {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, DecodeOptions options)
    : tokenizer_(tokenizer), options_(options), at_start_(options.text_start) {}

std::string_view Detokenizer::push(int32_t id) {
  std::string_view bytes = tokenizer_.bytes(id);
  out_.clear();
  if (bytes.empty() || (tokenizer_.is_special(id) && !options_.render_special)) return out_;
  if (at_start_ && tokenizer_.has_leading_space() && bytes.front() == ' ') bytes.remove_prefix(1);
  at_start_ = false;
  waiting_ += bytes;
  std::string_view rest = waiting_;
  while (!rest.empty()) {
    const Decoded next = decode_utf8(rest);
    if (next.cut_short) break;
    out_ += next.valid ? rest.substr(0, next.size) : kReplacementUtf8;
    rest.remove_prefix(next.size);
  }
  waiting_.erase(0, waiting_.size() - rest.size());
  return out_;
}

std::string_view Detokenizer::flush() {
  out_.clear();
  if (!waiting_.empty()) out_ = kReplacementUtf8;
  waiting_.clear();
  at_start_ = options_.text_start;
  return out_;
}

}  // namespace brim::text
