// `brim run MODEL`: one prompt continued on standard output, or, without a prompt, a conversation (chat.cpp).
#include "run.hpp"

#include <fmt/format.h>

#include <memory>
#include <random>

#include "commands.hpp"
#include "terminal.hpp"

namespace cli {

brim_sampling make_sampling(const brim::Config& config, const RunOptions& options) {
  brim_sampling sampling = config.sampling();
  if (options.temperature) sampling.temperature = *options.temperature;
  if (options.top_k) sampling.top_k = *options.top_k;
  if (options.top_p) sampling.top_p = *options.top_p;
  if (options.min_p) sampling.min_p = *options.min_p;
  if (options.typical_p) sampling.typical_p = *options.typical_p;
  if (options.repeat_penalty) sampling.repetition_penalty = *options.repeat_penalty;
  if (options.frequency_penalty) sampling.frequency_penalty = *options.frequency_penalty;
  if (options.presence_penalty) sampling.presence_penalty = *options.presence_penalty;
  if (options.penalty_last_n) sampling.penalty_last_n = *options.penalty_last_n;
  if (options.seed) {
    sampling.seed = *options.seed;
  } else if (sampling.seed == 0) {
    sampling.seed = std::random_device{}();
  }
  return sampling;
}

uint32_t lookahead_of(const brim::Config& config, const RunOptions& options) {
  return options.lookahead ? *options.lookahead : static_cast<uint32_t>(std::stoul(config.value("sampling.lookahead")));
}

std::vector<int32_t> tokens_of_start(const brim::Model& model, const std::string& text) {
  std::vector<int32_t> tokens = model.tokenize(text, BRIM_TOKENIZE_SPECIAL);
  const int32_t end = model.special(BRIM_TOKEN_EOS);
  if (!tokens.empty() && tokens.back() == end && end != model.special(BRIM_TOKEN_BOS)) tokens.pop_back();
  if (!tokens.empty()) return tokens;
  const int32_t start = model.special(BRIM_TOKEN_BOS);
  if (start < 0) {
    throw HostError(
        "the prompt is empty and the model's vocabulary has no token that begins a text (BOS); give a prompt");
  }
  return {start};
}

namespace {

std::vector<int32_t> prompt_tokens(const RunOptions& options, const brim::Model& model, const std::string& prompt) {
  if (!options.chat) return tokens_of_start(model, prompt);
  std::vector<brim_message> messages;
  if (!options.system.empty()) messages.push_back({brim::str("system"), brim::str(options.system)});
  messages.push_back({brim::str("user"), brim::str(prompt)});
  return model.tokenize(model.chat(messages, true), BRIM_TOKENIZE_PARSE_SPECIAL);
}

int complete(const RunOptions& options, const Machine& machine, const LoadedModel& loaded, const std::string& prompt) {
  const std::vector<int32_t> tokens = prompt_tokens(options, loaded.model, prompt);
  const brim_sampling sampling = make_sampling(machine.config, options);
  const brim::Sampler sampler(sampling, loaded.info.n_vocab);
  brim::Session session(loaded.model);
  const bool quiet = options.runtime.quiet;
  const Style& style = out_style();
  if (!quiet && stdout_is_terminal() && !options.chat) write_out(fmt::format("{}{}{}", style.dim, prompt, style.off));

  ProgressBar bar(!quiet);
  brim::Generation what;
  what.sequence = session.create_sequence();
  what.prompt = tokens;
  what.max_tokens = options.max_tokens;
  what.sampler = &sampler;
  what.stops = options.stops;
  what.ignore_end = options.ignore_eos;
  what.lookahead = lookahead_of(machine.config, options);
  what.cancel = &interrupt::token();
  what.progress = bar.callback();
  bool line_open = false;
  what.on_text = [&](std::string_view text, int32_t) {
    bar.clear();
    write_out(text);
    if (!text.empty()) line_open = text.back() != '\n';
    return true;
  };
  const brim::Generated result = session.generate(what);
  bar.clear();
  if (line_open) write_out("\n");  // what comes next on the terminal begins a line of its own
  if (!quiet) {
    Summary summary(machine, loaded);
    if (const std::string why = stop_sentence(result, loaded.plan_info); !why.empty()) write_err("brim: " + why + '\n');
    std::string text = summary.text(result);
    if (sampling.temperature > 0) text += fmt::format("seed {}\n", sampling.seed);
    write_err(fmt::format("{}{}{}", err_style().dim, text, err_style().off));
  }
  return result.cancelled ? kInterrupted : kOk;
}

int run(RunOptions& options, bool has_prompt) {
  if (options.raw && (options.chat || !options.system.empty())) {
    throw UsageError("--raw takes the text as it is; it does not go with --chat and --system");
  }
  if (!options.system.empty()) options.chat = true;
  std::optional<std::string> prompt;
  if (has_prompt) prompt = options.prompt;
  if (!options.prompt_file.empty()) prompt = read_file(options.prompt_file);
  if (!prompt && !stdin_is_terminal()) prompt = read_stdin();
  const Machine machine(options.runtime, options.plan);
  const LoadedModel loaded = load_model(machine, options.runtime, options.plan, options.model);
  return prompt ? complete(options, machine, loaded, *prompt) : converse(options, machine, loaded);
}

}  // namespace

Command add_run(CLI::App& program) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* app = program.add_subcommand("run", "Generate text, or talk with a model");
  explain(
      *app,
      "Generates text with a model. With --prompt (or a prompt on standard input) the text is continued on standard "
      "output as it comes. Without one, on a terminal, a conversation begins: the model's own chat template is used, "
      "/help lists what can be typed besides messages, Ctrl-C stops an answer. It ends with tokens/s of prefill and "
      "decode, the time to the first token, the share of the memory bandwidth that decoding reached, and a picture "
      "of the memory, all on standard error.");
  add_model_argument(*app, options->model);
  CLI::Option* prompt = app->add_option("--prompt", options->prompt, "Text to continue. Empty: start from BOS alone");
  prompt->type_name("TEXT")->expected(1)->group("Text");
  app->add_option("--file", options->prompt_file, "Read the prompt from a file")
      ->type_name("FILE")
      ->excludes(prompt)
      ->group("Text");
  app->add_option("-n,--tokens", options->max_tokens,
                  "Tokens to generate at most; 0: until the text ends or the context is full")
      ->type_name("N")
      ->group("Text");
  app->add_option("--stop", options->stops, "Text that ends the generation and is not printed; may be repeated")
      ->type_name("STR")
      ->allow_extra_args(false)
      ->group("Text");
  app->add_flag("--ignore-eos", options->ignore_eos, "Go on where the model ends its text")->group("Text");
  app->add_flag("--raw", options->raw, "No chat template: what is typed is continued as it stands")->group("Text");
  app->add_flag("--chat", options->chat, "Put the prompt into the model's chat template")->group("Text");
  app->add_option("--system", options->system, "System message of the conversation; implies --chat")
      ->type_name("TEXT")
      ->group("Text");
  app->add_option("--temp", options->temperature, "Temperature; 0: always the likeliest token")
      ->type_name("T")
      ->group("Sampling");
  app->add_option("--top-k", options->top_k, "Keep the K likeliest tokens; 0: all")->type_name("K")->group("Sampling");
  app->add_option("--top-p", options->top_p, "Keep the fewest tokens that have probability P together; 1: all")
      ->type_name("P")
      ->group("Sampling");
  app->add_option("--min-p", options->min_p, "Drop tokens less likely than P times the likeliest; 0: none")
      ->type_name("P")
      ->group("Sampling");
  app->add_option("--typical", options->typical_p, "Locally typical sampling with mass P; 1: off")
      ->type_name("P")
      ->group("Sampling");
  app->add_option("--repeat-penalty", options->repeat_penalty, "Weakens recent tokens by this factor; 1: off")
      ->type_name("X")
      ->group("Sampling");
  app->add_option("--frequency-penalty", options->frequency_penalty,
                  "Taken off a token's logit for each time it came recently")
      ->type_name("X")
      ->group("Sampling");
  app->add_option("--presence-penalty", options->presence_penalty, "Taken off once for tokens that came recently")
      ->type_name("X")
      ->group("Sampling");
  app->add_option("--penalty-last-n", options->penalty_last_n, "What \"recently\" means, tokens; default 64")
      ->type_name("N")
      ->group("Sampling");
  app->add_option(
         "--seed", options->seed,
         "Seed of the draws: the same one gives the same text. Default: another one each time, told at the end")
      ->type_name("S")
      ->group("Sampling");
  app->add_option("--lookahead", options->lookahead,
                  "Tokens guessed ahead at most where the text repeats itself; the text stays the same; 0: none")
      ->type_name("N")
      ->check(CLI::Range(64))
      ->group("Sampling");
  add_plan_options(*app, options->plan);
  add_runtime_options(*app, options->runtime);
  app->footer(
      "Examples:\n"
      "  brim run model.gguf                                   a conversation\n"
      "  brim run model.gguf --prompt \"Once upon a time\" -n 200\n"
      "  brim run model.gguf --prompt \"\" --temp 0 --quiet       from BOS alone; the text and a line break, nothing "
      "else\n"
      "  brim run model.gguf --chat --system \"Be brief.\" --prompt \"Why is the sky blue?\"\n"
      "  brim run model.gguf < letter.txt");
  return {app, [options, prompt] { return run(*options, prompt->count() > 0); }};
}

}  // namespace cli
