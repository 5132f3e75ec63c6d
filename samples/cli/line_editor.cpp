#include "line_editor.hpp"

#include <cerrno>
#include <cstdio>

#include "terminal.hpp"

#if defined(BRIM_CLI_LIBEDIT)
#include <histedit.h>
#endif

namespace cli {

namespace {

void drop_line_break(std::string& line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
}

// Without libedit, and where standard input or output is no terminal.
LineEditor::Event read_plain(const std::string& prompt, std::string& line) {
  write_out(prompt);
  line.clear();
  errno = 0;
  for (int c = 0; (c = std::fgetc(stdin)) != EOF;) {
    line += static_cast<char>(c);
    if (c == '\n') break;
  }
  const bool broken = std::ferror(stdin) != 0 && errno == EINTR;
  std::clearerr(stdin);
  if (broken) return LineEditor::Event::kInterrupted;
  if (line.empty()) return LineEditor::Event::kEnd;
  drop_line_break(line);
  return LineEditor::Event::kLine;
}

}  // namespace

#if defined(BRIM_CLI_LIBEDIT)

struct LineEditor::State {
  EditLine* edit = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::string prompt;
};

LineEditor::LineEditor() : state_(std::make_unique<State>()) {
  if (!stdin_is_terminal() || !stdout_is_terminal()) return;
  state_->edit = el_init("brim", stdin, stdout, stderr);
  state_->history = history_init();
  if (state_->edit == nullptr || state_->history == nullptr) return;
  history(state_->history, &state_->event, H_SETSIZE, 1000);
  history(state_->history, &state_->event, H_SETUNIQUE, 1);
  el_set(state_->edit, EL_CLIENTDATA, state_.get());
  el_set(state_->edit, EL_EDITOR, "emacs");
  el_set(state_->edit, EL_SIGNAL, 0);  // Ctrl-C is the program's
  el_set(state_->edit, EL_HIST, history, state_->history);
  // A Ctrl-D typed while an answer is written reaches the next line as a NUL, which would stand in it unseen.
  el_set(state_->edit, EL_BIND, "^@", "ed-ignore", nullptr);
  el_set(
      state_->edit, EL_PROMPT, +[](EditLine* edit) -> const char* {
        State* state = nullptr;
        el_get(edit, EL_CLIENTDATA, &state);
        return state->prompt.c_str();
      });
}

LineEditor::~LineEditor() {
  if (state_->edit != nullptr) el_end(state_->edit);
  if (state_->history != nullptr) history_end(state_->history);
}

LineEditor::Event LineEditor::read(const std::string& prompt, std::string& line) {
  const interrupt::BreaksReads breaks_reads;
  if (state_->edit == nullptr || state_->history == nullptr) {
    const Event event = read_plain(prompt, line);
    return interrupt::take() ? Event::kInterrupted : event;
  }
  state_->prompt = prompt;
  int length = 0;
  const char* const text = el_gets(state_->edit, &length);
  if (interrupt::take()) {
    el_reset(state_->edit);
    return Event::kInterrupted;
  }
  if (text == nullptr || length <= 0) return Event::kEnd;
  line.assign(text, static_cast<size_t>(length));
  drop_line_break(line);
  if (line.find_first_not_of(' ') != std::string::npos) {
    history(state_->history, &state_->event, H_ENTER, line.c_str());
  }
  return Event::kLine;
}

#else

struct LineEditor::State {};
LineEditor::LineEditor() = default;
LineEditor::~LineEditor() = default;

LineEditor::Event LineEditor::read(const std::string& prompt, std::string& line) {
  const interrupt::BreaksReads breaks_reads;
  const Event event = read_plain(prompt, line);
  return interrupt::take() ? Event::kInterrupted : event;
}

#endif

}  // namespace cli
