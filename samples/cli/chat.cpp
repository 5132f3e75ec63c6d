// The conversation of `brim run`. The messages are the truth; the sequence in the KV cache is what is already computed
// of them: before each answer the whole conversation is rendered, compared with what the sequence holds, trimmed to the
// part that agrees, and only the rest is run. So a template that treats old messages differently, an answer that was
// cut, or a restored file need no special case. Without a usable template, what is typed is continued as plain text.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "line_editor.hpp"
#include "run.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

constexpr std::string_view kHelp =
    "/help         this list\n"
    "/reset        forget the conversation\n"
    "/save FILE    write the conversation with its state\n"
    "/load FILE    go on with a saved one\n"
    "/stats        speeds and memory of the last answer\n"
    "/exit         leave (also Ctrl-D)\n"
    "Ctrl-C stops an answer; at the prompt it drops the line.\n";

constexpr std::string_view kMagic = "BRIMCHAT1\n";

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

File open_file(const std::string& path, const char* mode) {
  File file(std::fopen(path.c_str(), mode));
  if (!file) throw HostError(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  return file;
}

class Conversation {
 public:
  Conversation(const RunOptions& options, const Machine& machine, const LoadedModel& loaded)
      : options_(options),
        loaded_(loaded),
        summary_(machine, loaded),
        session_(loaded.model),
        sampler_(make_sampling(machine.config, options), loaded.info.n_vocab),
        lookahead_(lookahead_of(machine.config, options)) {
    reset();
    templated_ = !options.raw && template_works();
  }

  int run() {
    if (!options_.runtime.quiet) {
      write_err(
          fmt::format("{}, context {} tokens. /help lists what can be typed besides text.\n",
                      loaded_.info.name.len > 0 ? brim::view(loaded_.info.name) : std::string_view("unnamed model"),
                      loaded_.plan_info.n_ctx));
    }
    LineEditor editor;
    std::string line;
    for (;;) {
      switch (editor.read("> ", line)) {
        case LineEditor::Event::kInterrupted:
          write_out("\n");
          continue;
        case LineEditor::Event::kEnd:
          write_out("\n");
          return kOk;
        case LineEditor::Event::kLine:
          break;
      }
      try {
        if (line.starts_with('/')) {
          if (!command(line)) return kOk;
        } else if (!line.empty() || !templated_) {
          answer(line);
        }
      } catch (const brim::Failure& failure) {
        complain(failure.what());
      } catch (const HostError& error) {
        complain(error.what());
      }
      interrupt::take();
    }
  }

 private:
  static void complain(std::string_view message) {
    write_err(fmt::format("{}brim:{} {}\n", err_style().red, err_style().off, message));
  }

  // Says which way the conversation goes, and why where it is not the model's own.
  bool template_works() {
    const brim_message probe{brim::str("user"), brim::str("hello")};
    try {
      loaded_.model.chat(std::span(&probe, 1), true);
      return true;
    } catch (const brim::Failure& failure) {
      if (failure.code() != BRIM_FAILED_PRECONDITION && failure.code() != BRIM_UNSUPPORTED) throw;
      write_err(fmt::format("No conversation with this model: {}. What you type is continued as plain text instead.\n",
                            failure.what()));
      return false;
    }
  }

  void reset() {
    messages_.clear();
    if (!options_.system.empty()) messages_.push_back({"system", options_.system});
    renew_sequence();
    sampler_.reset();
    last_.reset();
  }

  void renew_sequence() {
    if (has_sequence_) session_.remove(sequence_);
    has_sequence_ = false;
    sequence_ = session_.create_sequence();
    has_sequence_ = true;
  }

  // Tokens of the conversation that the sequence does not hold yet, after trimming it to what it shares with them.
  std::vector<int32_t> unseen() {
    std::vector<brim_message> views;
    for (const Message& message : messages_) views.push_back({brim::str(message.role), brim::str(message.content)});
    std::vector<int32_t> tokens = loaded_.model.tokenize(loaded_.model.chat(views, true), BRIM_TOKENIZE_PARSE_SPECIAL);
    if (tokens.empty()) throw HostError("the chat template rendered no text");
    const std::vector<int32_t> held = session_.tokens(sequence_);
    const auto agree = std::mismatch(held.begin(), held.end(), tokens.begin(), tokens.end()).second - tokens.begin();
    const auto keep = std::min<size_t>(static_cast<size_t>(agree), tokens.size() - 1);
    try {
      session_.trim(sequence_, static_cast<uint32_t>(keep));
      tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(keep));
    } catch (const brim::Failure& failure) {
      if (failure.code() != BRIM_UNSUPPORTED) throw;  // a state that cannot go back begins anew
      renew_sequence();
    }
    return tokens;
  }

  void answer(const std::string& line) {
    std::vector<int32_t> prompt;
    if (templated_) {
      messages_.push_back({"user", line});
      prompt = unseen();
    } else if (session_.length(sequence_) == 0) {
      prompt = tokens_of_start(loaded_.model, line);
    } else {
      prompt = loaded_.model.tokenize(line, 0);
    }
    ProgressBar bar(!options_.runtime.quiet);
    std::string text;
    brim::Generation what;
    what.sequence = sequence_;
    what.prompt = prompt;
    what.max_tokens = options_.max_tokens;
    what.sampler = &sampler_;
    what.stops = options_.stops;
    what.ignore_end = options_.ignore_eos;
    what.lookahead = lookahead_;
    what.cancel = &interrupt::token();
    what.progress = bar.callback();
    what.on_text = [&](std::string_view piece, int32_t) {
      bar.clear();
      write_out(piece);
      text += piece;
      return true;
    };
    try {
      last_ = session_.generate(what);
    } catch (...) {
      if (templated_) messages_.pop_back();
      throw;
    }
    bar.clear();
    if (templated_) messages_.push_back({"assistant", text});
    write_out("\n");
    if (last_->cancelled) write_err("(stopped)\n");
    if (const std::string why = stop_sentence(*last_, loaded_.plan_info); !why.empty()) {
      complain(why + "; /reset begins anew");
    }
  }

  // False: leave.
  bool command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    std::string argument = space == std::string::npos ? "" : line.substr(space);
    argument.erase(0, argument.find_first_not_of(' '));
    argument.erase(argument.find_last_not_of(' ') + 1);
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/help") {
      write_out(kHelp);
    } else if (name == "/reset") {
      reset();
    } else if (name == "/stats") {
      write_out(last_ ? summary_.text(*last_) : summary_.memory());
    } else if (name == "/save" || name == "/load") {
      if (argument.empty()) throw HostError(name + " needs a file name");
      name == "/save" ? save(argument) : load(argument);
    } else {
      throw HostError(fmt::format("{} is no command; /help lists them", name));
    }
    return true;
  }

  // Magic, a line of JSON with the messages, then the sequence as the library writes it.
  void save(const std::string& path) {
    nlohmann::json messages = nlohmann::json::array();
    for (const Message& message : messages_) messages.push_back({{"role", message.role}, {"content", message.content}});
    const std::string head = fmt::format("{}{}\n", kMagic, messages.dump());
    const File file = open_file(path, "wb");
    const auto write = [&](const void* data, uint64_t bytes) {
      return std::fwrite(data, 1, static_cast<size_t>(bytes), file.get()) == bytes;
    };
    if (!write(head.data(), head.size()))
      throw HostError(fmt::format("{}: cannot write: {}", path, std::strerror(errno)));
    session_.save(sequence_, write);
    if (std::fflush(file.get()) != 0) throw HostError(fmt::format("{}: cannot write: {}", path, std::strerror(errno)));
    write_out(fmt::format("saved {} tokens\n", session_.length(sequence_)));
  }

  void load(const std::string& path) {
    const File file = open_file(path, "rb");
    std::string head(kMagic.size(), '\0');
    if (std::fread(head.data(), 1, head.size(), file.get()) != head.size() || head != kMagic) {
      throw HostError(fmt::format("{}: not a conversation saved by /save", path));
    }
    std::string json;
    for (int c = 0; (c = std::fgetc(file.get())) != EOF && c != '\n';) json += static_cast<char>(c);
    std::vector<Message> messages;
    try {
      for (const auto& message : nlohmann::json::parse(json)) {
        messages.push_back({message.at("role").get<std::string>(), message.at("content").get<std::string>()});
      }
    } catch (const nlohmann::json::exception&) {
      throw HostError(fmt::format("{}: the list of messages is damaged", path));
    }
    // One sequence is alive at a time, so the old one goes first; where the new one cannot be had, the old messages
    // stay and are computed again with the next answer.
    session_.remove(sequence_);
    has_sequence_ = false;
    try {
      sequence_ = session_.restore([&](void* data, uint64_t bytes) {
        return std::fread(data, 1, static_cast<size_t>(bytes), file.get()) == bytes;
      });
      has_sequence_ = true;
    } catch (...) {
      renew_sequence();
      throw;
    }
    messages_ = std::move(messages);
    write_out(fmt::format("loaded {} tokens\n", session_.length(sequence_)));
  }

  struct Message {
    std::string role, content;
  };
  const RunOptions& options_;
  const LoadedModel& loaded_;
  Summary summary_;
  brim::Session session_;
  brim::Sampler sampler_;
  uint32_t lookahead_;
  std::vector<Message> messages_;
  uint32_t sequence_ = 0;
  bool has_sequence_ = false;
  bool templated_ = false;
  std::optional<brim::Generated> last_;
};

}  // namespace

int converse(const RunOptions& options, const Machine& machine, const LoadedModel& loaded) {
  return Conversation(options, machine, loaded).run();
}

}  // namespace cli
