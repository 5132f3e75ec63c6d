// Lines from the user: with editing and history by libedit where the build found it, else plain lines of standard
// input. The history lives in memory only. Ctrl-C abandons the line.
#pragma once

#include <memory>
#include <string>

namespace cli {

class LineEditor {
 public:
  enum class Event { kLine, kInterrupted, kEnd };

  LineEditor();
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // `line` comes without its line break. `prompt` is shown in front.
  Event read(const std::string& prompt, std::string& line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cli
