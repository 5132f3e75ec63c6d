// Children by fork and exec of /proc/self/exe; their streams come through one pipe. A child that outstays its time gets
// SIGTERM, so that it can still say what it was doing, then SIGKILL.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "../os.hpp"

namespace check::os {
namespace {

constexpr size_t kMostPrinted = 4096;

std::atomic<const char*> doing{"nothing yet"};
std::array<char, 256> about_text{};  // terminated; read by the handler as it is
int crash_file = -1;

std::string signal_text(int number) {
  const char* name = sigabbrev_np(number);
  const char* words = sigdescr_np(number);
  return std::string("SIG") + (name ? name : std::to_string(number).c_str()) +
         (words ? std::string(" (") + words + ")" : "");
}

// Only calls that POSIX allows in a handler. Threads of a team may crash together: the first one speaks, in one write,
// and the others wait for the end.
void on_crash(int number) {
  static std::atomic<bool> told{false};
  while (told.exchange(true)) pause();
  std::array<char, 512> line;
  size_t n = 0;
  for (const char* part : {"{\"crashed_in\": \"", doing.load(), about_text[0] ? ", " : "",
                           static_cast<const char*>(about_text.data()), "\"}\n"}) {
    for (; *part != 0 && n < line.size(); ++part) line[n++] = *part;
  }
  if (write(crash_file, line.data(), n) < 0) {
    // Then the report says less.
  }
  signal(number, SIG_DFL);
  raise(number);
}

}  // namespace

void set_doing(const char* what) noexcept { doing.store(what); }

void set_about(const std::string& what) {
  const size_t n = std::min(what.size(), about_text.size() - 1);
  std::memcpy(about_text.data(), what.data(), n);
  about_text[n] = 0;
}
std::string about() { return about_text.data(); }

void report_crashes_to(const std::string& file) {
  crash_file = open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (crash_file < 0) return;
  // A stack that overflowed leaves no room for the handler.
  static std::array<char, 64 * 1024> spare;
  stack_t stack{};
  stack.ss_sp = spare.data();
  stack.ss_size = spare.size();
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = on_crash;
  action.sa_flags = SA_ONSTACK | SA_NODEFER;
  for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTERM}) sigaction(number, &action, nullptr);
}

std::string temporary_path() {
  static std::atomic<unsigned> next{0};
  return (std::filesystem::temp_directory_path() /
          ("brim-check-" + std::to_string(getpid()) + "-" + std::to_string(next++)))
      .string();
}

Ended run_self(const std::vector<std::string>& arguments, double limit_seconds) {
  std::vector<std::string> words = {"brim-check"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::string("no pipe to a child: ") + std::strerror(errno));
  const pid_t child = fork();
  if (child < 0) {
    close(ends[0]);
    close(ends[1]);
    throw std::runtime_error(std::string("no child process: ") + std::strerror(errno));
  }
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
#if defined(BRIM_CHECK_EMULATED)
    // An emulator of another processor would start itself anew: the child goes on as it is.
    _exit(program(static_cast<int>(words.size()), argv.data()));
#else
    execv("/proc/self/exe", argv.data());
    _exit(127);
#endif
  }
  close(ends[1]);

  Ended ended;
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  bool streams_open = true, terminated = false, killed = false;
  int status = 0;
  for (;;) {
    if (streams_open) {
      pollfd waiting{ends[0], POLLIN, 0};
      if (poll(&waiting, 1, 50) > 0) {
        std::array<char, 4096> buffer;
        const ssize_t n = read(ends[0], buffer.data(), buffer.size());
        if (n <= 0) streams_open = false;
        if (n > 0 && ended.printed.size() < kMostPrinted) ended.printed.append(buffer.data(), static_cast<size_t>(n));
      }
    } else {
      usleep(2000);
    }
    if (waitpid(child, &status, WNOHANG) == child) break;
    if (seconds() > limit_seconds && !terminated) {
      ended.timed_out = terminated = true;
      kill(child, SIGTERM);
    }
    if (seconds() > limit_seconds + 2 && !killed) {
      killed = true;
      kill(child, SIGKILL);
    }
  }
  // What is still in the pipe; a grandchild may hold it open for ever.
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  std::array<char, 4096> rest;
  for (ssize_t n; ended.printed.size() < kMostPrinted && (n = read(ends[0], rest.data(), rest.size())) > 0;) {
    ended.printed.append(rest.data(), static_cast<size_t>(n));
  }
  close(ends[0]);
  if (WIFSIGNALED(status)) ended.signal = signal_text(WTERMSIG(status));
  if (WIFEXITED(status)) ended.code = WEXITSTATUS(status);
  return ended;
}

}  // namespace check::os
