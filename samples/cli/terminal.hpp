// The terminal: what is connected to one, how wide it is, colours, a progress bar, writing to standard output with
// every failure noticed, and Ctrl-C as a cancel token. All that differs between systems is in terminal.cpp.
#pragma once

#include <brim/brim.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace cli {

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();
unsigned terminal_width();  // columns of the error stream's terminal; 80 where unknown

// SGR sequences for standard output or standard error; empty unless that is a terminal, and with NO_COLOR set
// (https://no-color.org).
struct Style {
  std::string_view bold, dim, red, green, yellow, off;
};
const Style& out_style();
const Style& err_style();

// Standard output is gone (a closed pipe, a full disk). Thrown by write_out; `silent` where the reader just went away.
struct OutputClosed {
  bool silent;
  int error;  // errno
};
// Writes all of text to standard output and flushes it.
void write_out(std::string_view text);
void write_err(std::string_view text);

// A line on standard error that is rewritten in place. Does nothing where standard error is no terminal or `wanted` is
// false; leaves no trace when cleared.
class ProgressBar {
 public:
  explicit ProgressBar(bool wanted) : wanted_(wanted && stderr_is_terminal()) {}
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void show(uint32_t stage, uint64_t done, uint64_t total);  // as brim_progress_fn
  void clear();
  brim::Progress callback() {
    return [this](uint32_t stage, uint64_t done, uint64_t total) { show(stage, done, total); };
  }

 private:
  bool wanted_;
  bool shown_ = false;
};

// Ctrl-C. From install() on it fires the process's cancel token; a second one while the first has not been taken ends
// the program as Ctrl-C does by default, so that a call which does not listen can be left.
namespace interrupt {
void install();
const brim::Cancel& token();
bool pending();
bool take();  // whether it came since the last take(); ready for the next one
// While alive, Ctrl-C interrupts a blocked read instead of letting it go on.
struct BreaksReads {
  BreaksReads();
  ~BreaksReads();
};
}  // namespace interrupt

// Switches off what would end the program behind its back: SIGPIPE.
void ignore_closed_pipes();

}  // namespace cli
