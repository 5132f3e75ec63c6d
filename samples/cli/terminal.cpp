#include "terminal.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "words.hpp"

#if defined(_WIN32)
#include <io.h>
#else
#include <sys/ioctl.h>
#include <unistd.h>
#endif

namespace cli {

namespace {

bool is_terminal(std::FILE* file) {
#if defined(_WIN32)
  return _isatty(_fileno(file)) != 0;
#else
  return isatty(fileno(file)) != 0;
#endif
}

Style style_for(bool terminal) {
  if (!terminal || std::getenv("NO_COLOR") != nullptr) return {};
  return {"\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m", "\033[0m"};
}

std::string_view stage_name(uint32_t stage) {
  switch (stage) {
    case BRIM_STAGE_READ:
      return "reading";
    case BRIM_STAGE_PACK:
      return "packing";
    case BRIM_STAGE_WARM_UP:
      return "warming up";
    case BRIM_STAGE_PREFILL:
      return "prompt";
    case BRIM_STAGE_QUANTIZE:
      return "quantizing";
    default:
      return "working";
  }
}

}  // namespace

bool stdin_is_terminal() { return is_terminal(stdin); }
bool stdout_is_terminal() { return is_terminal(stdout); }
bool stderr_is_terminal() { return is_terminal(stderr); }

unsigned terminal_width() {
#if !defined(_WIN32)
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
#endif
  return 80;
}

const Style& out_style() {
  static const Style style = style_for(stdout_is_terminal());
  return style;
}

const Style& err_style() {
  static const Style style = style_for(stderr_is_terminal());
  return style;
}

void write_out(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    const int error = errno;
    throw OutputClosed{error == EPIPE, error};
  }
}

void write_err(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

void ProgressBar::show(uint32_t stage, uint64_t done, uint64_t total) {
  if (!wanted_ || total == 0) return;
  shown_ = true;
  if (stage == BRIM_STAGE_WARM_UP) {  // has a beginning and an end, and no amount
    write_err(fmt::format("\r\033[K{}", stage_name(stage)));
    std::fflush(stderr);
    return;
  }
  const bool tokens = stage == BRIM_STAGE_PREFILL;
  const std::string numbers = tokens ? fmt::format("{} of {} tokens", done, total)
                                     : fmt::format("{} of {}", bytes_text(done), bytes_text(total));
  const size_t taken = numbers.size() + 16;
  const size_t cells = terminal_width() > taken + 10 ? std::min<size_t>(40, terminal_width() - taken) : 10;
  const auto full = static_cast<size_t>(static_cast<double>(cells) * static_cast<double>(std::min(done, total)) /
                                        static_cast<double>(total));
  write_err(fmt::format("\r\033[K{:<10} [{}{}] {}", stage_name(stage), std::string(full, '#'),
                        std::string(cells - full, '.'), numbers));
  std::fflush(stderr);
}

void ProgressBar::clear() {
  if (!shown_) return;
  write_err("\r\033[K");
  std::fflush(stderr);
  shown_ = false;
}

namespace interrupt {

namespace {

std::optional<brim::Cancel> g_token;
volatile std::sig_atomic_t g_pending = 0;

extern "C" void on_interrupt(int) {
  if (g_pending != 0) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
    return;
  }
  g_pending = 1;
  brim_cancel_fire(g_token->get());
#if defined(_WIN32)
  std::signal(SIGINT, on_interrupt);  // there it falls back to the default at every delivery
#endif
}

}  // namespace

void install() {
  g_token.emplace();
  std::signal(SIGINT, on_interrupt);
}

const brim::Cancel& token() { return *g_token; }

bool pending() { return g_pending != 0; }

bool take() {
  const bool came = g_pending != 0;
  g_pending = 0;
  g_token->reset();
  return came;
}

#if defined(_WIN32)
BreaksReads::BreaksReads() {}
BreaksReads::~BreaksReads() {}
#else
namespace {
void set_interrupting(bool on) {
  struct sigaction action {};
  sigaction(SIGINT, nullptr, &action);
  action.sa_flags = on ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}
}  // namespace
BreaksReads::BreaksReads() { set_interrupting(true); }
BreaksReads::~BreaksReads() { set_interrupting(false); }
#endif

}  // namespace interrupt

void ignore_closed_pipes() {
#if !defined(_WIN32)
  std::signal(SIGPIPE, SIG_IGN);
#endif
}

}  // namespace cli
