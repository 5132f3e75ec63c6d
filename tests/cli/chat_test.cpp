// A conversation as somebody at a terminal has it: the program runs on a pseudo-terminal and is typed at.
#include <doctest/doctest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "../support/temp_folder.hpp"
#include "command.hpp"

using namespace brim::test;

namespace {

class Talk {
 public:
  explicit Talk(const std::vector<std::string>& arguments) {
    std::vector<char*> argv = {const_cast<char*>("brim"), const_cast<char*>("run")};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    child_ = forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (child_ == 0) {
      execv(BRIM_BINARY_DIR "/bin/brim", argv.data());
      _exit(127);
    }
  }
  ~Talk() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(terminal_);
  }

  void type(const std::string& keys) {
    CHECK(write(terminal_, keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
  }

  // Whether `text` came, after what was seen before, within 20 s.
  bool see(const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      if (const size_t at = screen_.find(text, seen_); at != std::string::npos) {
        seen_ = at + text.size();
        return true;
      }
      pollfd wait{terminal_, POLLIN, 0};
      char chunk[4096];
      if (poll(&wait, 1, 100) <= 0) continue;
      const ssize_t n = read(terminal_, chunk, sizeof chunk);
      if (n <= 0) break;
      screen_.append(chunk, static_cast<size_t>(n));
    }
    return screen_.find(text, seen_) != std::string::npos;
  }

  // Types `keys`, each second again as somebody would whose keys went under in the answer, until the program ends;
  // gives its exit code, -1 where it goes on for 20 s.
  int leave(const std::string& keys) {
    int status = 0;
    for (int i = 0; i < 100; ++i) {
      if (i % 5 == 0) (void)!write(terminal_, keys.data(), keys.size());
      if (waitpid(child_, &status, WNOHANG) == child_) {
        child_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      pollfd wait{terminal_, POLLIN, 0};
      char chunk[4096];
      if (poll(&wait, 1, 0) > 0) (void)!read(terminal_, chunk, sizeof chunk);
      usleep(200'000);
    }
    return -1;
  }

 private:
  pid_t child_ = -1;
  int terminal_ = -1;
  std::string screen_;
  size_t seen_ = 0;
};

constexpr const char* kChatMl =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

}  // namespace

TEST_CASE("Ctrl-C stops the answer and not the program; a saved conversation goes on") {
  const TempFolder folder;
  const std::string model = folder / "chat.gguf", saved = folder / "saved";
  tiny_model(Head::kRandom).set("tokenizer.chat_template", kChatMl).write(model);
  Talk talk({model, "--temp", "0", "-c", "1000000", "--ignore-eos"});
  REQUIRE(talk.see("> "));
  talk.type("hello\n");
  REQUIRE(talk.see("hello"));
  usleep(500'000);  // into the answer, which would not end by itself
  talk.type("\x03");
  REQUIRE(talk.see("(stopped)"));
  talk.type("/save " + saved + "\n");
  REQUIRE(talk.see("saved "));
  talk.type("/reset\n/load " + saved + "\n");
  CHECK(talk.see("loaded "));
  talk.type("/load /nowhere/saved\n");
  CHECK(talk.see("/nowhere/saved: cannot open"));
  talk.type("/dance\n");
  CHECK(talk.see("/dance is no command"));
  talk.type("/stats\n");
  CHECK(talk.see("weights"));
  CHECK(talk.leave("/exit\n") == 0);
}

TEST_CASE("a model without a chat template says so and continues plain text") {
  const TempFolder folder;
  const std::string model = folder / "plain.gguf";
  tiny_model(Head::kRandom).write(model);
  Talk talk({model, "--temp", "0", "-n", "4", "--ignore-eos"});
  CHECK(talk.see("No conversation with this model"));
  REQUIRE(talk.see("> "));
  talk.type("abc\n");
  CHECK(talk.see("> "));
  CHECK(talk.leave("\x04") == 0);  // Ctrl-D
}
