// `brim tokenize MODEL`: text to token ids. Needs the vocabulary only.
#include <fmt/format.h>

#include <memory>

#include "commands.hpp"
#include "host.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

struct TokenizeOptions {
  RuntimeOptions runtime;
  std::string model, text;
  bool from_stdin = false, ids = false, no_bos = false, parse_special = false;
};

// Letters as they are, everything that would disturb a terminal as an escape.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

int tokenize(const TokenizeOptions& options, bool has_text) {
  if (has_text == options.from_stdin) throw UsageError("tokenize takes either TEXT or --stdin");
  const std::string text = has_text ? options.text : read_stdin();
  const Machine machine(options.runtime);
  const brim::Model model(machine.runtime, options.model);
  const uint32_t flags =
      (options.no_bos ? 0 : BRIM_TOKENIZE_SPECIAL) | (options.parse_special ? BRIM_TOKENIZE_PARSE_SPECIAL : 0);
  const std::vector<int32_t> tokens = model.tokenize(text, flags);
  std::string out;
  if (options.ids) {
    for (size_t i = 0; i < tokens.size(); ++i) out += fmt::format("{}{}", i == 0 ? "" : " ", tokens[i]);
    out += '\n';
  } else {
    for (const int32_t token : tokens)
      out += fmt::format("{:>8}  {}\n", token, quoted(brim::view(model.token(token).text)));
  }
  write_out(out);
  if (!options.ids && !options.runtime.quiet) write_err(fmt::format("{} tokens\n", tokens.size()));
  return kOk;
}

}  // namespace

Command add_tokenize(CLI::App& program) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* app = program.add_subcommand("tokenize", "Text to tokens");
  explain(
      *app,
      "Turns text into the tokens of a model: one a line, the id and the token as the vocabulary spells it. Only the "
      "vocabulary is read, so files that hold nothing else work too. What the file wants around a text (BOS, EOS) is "
      "added unless --no-bos is given.");
  add_model_argument(*app, options->model);
  CLI::Option* text = app->add_option("TEXT", options->text, "The text")->type_name("");
  app->add_flag("--stdin", options->from_stdin, "Take the text from standard input, every byte of it");
  app->add_flag("--ids", options->ids, "Ids only, on one line");
  app->add_flag("--no-bos", options->no_bos, "Add nothing around the text");
  app->add_flag("--parse-special", options->parse_special,
                "Take \"<|eot|>\" and the like in the text for the tokens they name");
  add_runtime_options(*app, options->runtime);
  options->runtime.require_device = false;
  app->footer(
      "Examples:\n"
      "  brim tokenize model.gguf \"Hello world\"\n"
      "  brim tokenize model.gguf --stdin --ids --no-bos < text.txt");
  return {app, [options, text] { return tokenize(*options, text->count() > 0); }};
}

}  // namespace cli
