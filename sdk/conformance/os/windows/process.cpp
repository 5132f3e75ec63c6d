// Children by CreateProcess; their streams come through one pipe, read by a thread.
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "../os.hpp"

namespace check::os {
namespace {

constexpr size_t kMostPrinted = 4096;

// As CommandLineToArgvW takes it apart again.
std::wstring quoted(const std::string& word) {
  const std::wstring wide = std::filesystem::u8path(word).wstring();
  std::wstring out = L"\"";
  size_t slashes = 0;
  for (const wchar_t c : wide) {
    if (c == L'\\') {
      ++slashes;
      continue;
    }
    out.append(c == L'"' ? 2 * slashes + 1 : slashes, L'\\');
    slashes = 0;
    out += c;
  }
  out.append(2 * slashes, L'\\');
  return out + L"\"";
}

std::string exception_text(DWORD code) {
  std::array<char, 64> text{};
  const char* name = code == EXCEPTION_ACCESS_VIOLATION        ? "access violation"
                     : code == EXCEPTION_STACK_OVERFLOW        ? "stack overflow"
                     : code == EXCEPTION_ILLEGAL_INSTRUCTION   ? "illegal instruction"
                     : code == EXCEPTION_INT_DIVIDE_BY_ZERO    ? "division by zero"
                     : code == EXCEPTION_DATATYPE_MISALIGNMENT ? "misaligned data"
                                                               : "exception";
  std::snprintf(text.data(), text.size(), "%s (0x%08lx)", name, code);
  return text.data();
}

}  // namespace

void set_doing(const char*) noexcept {}

namespace {
std::string about_text;
}
void set_about(const std::string& what) { about_text = what; }
std::string about() { return about_text; }
void report_crashes_to(const std::string&) {
  // A dialog about a crash would stand until somebody closes it.
  SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
}

std::string temporary_path() {
  static std::atomic<unsigned> next{0};
  return (std::filesystem::temp_directory_path() /
          ("brim-check-" + std::to_string(GetCurrentProcessId()) + "-" + std::to_string(next++)))
      .string();
}

Ended run_self(const std::vector<std::string>& arguments, double limit_seconds) {
  std::array<wchar_t, 32768> own{};
  GetModuleFileNameW(nullptr, own.data(), static_cast<DWORD>(own.size()));
  std::wstring line = L"\"" + std::wstring(own.data()) + L"\"";
  for (const std::string& argument : arguments) line += L" " + quoted(argument);

  SECURITY_ATTRIBUTES inherited{sizeof(inherited), nullptr, TRUE};
  HANDLE read_end = nullptr, write_end = nullptr;
  if (!CreatePipe(&read_end, &write_end, &inherited, 0)) throw std::runtime_error("no pipe to a child");
  SetHandleInformation(read_end, HANDLE_FLAG_INHERIT, 0);
  STARTUPINFOW start{};
  start.cb = sizeof(start);
  start.dwFlags = STARTF_USESTDHANDLES;
  start.hStdOutput = start.hStdError = write_end;
  PROCESS_INFORMATION child{};
  const BOOL made =
      CreateProcessW(own.data(), line.data(), nullptr, nullptr, TRUE, 0, nullptr, nullptr, &start, &child);
  CloseHandle(write_end);
  if (!made) {
    CloseHandle(read_end);
    throw std::runtime_error("no child process: error " + std::to_string(GetLastError()));
  }
  Ended ended;
  std::thread reader([&] {
    std::array<char, 4096> buffer;
    for (DWORD n = 0; ReadFile(read_end, buffer.data(), static_cast<DWORD>(buffer.size()), &n, nullptr) && n > 0;) {
      if (ended.printed.size() < kMostPrinted) ended.printed.append(buffer.data(), n);
    }
  });
  if (WaitForSingleObject(child.hProcess, static_cast<DWORD>(limit_seconds * 1000)) == WAIT_TIMEOUT) {
    ended.timed_out = true;
    TerminateProcess(child.hProcess, 1);
    WaitForSingleObject(child.hProcess, INFINITE);
  }
  reader.join();
  DWORD code = 0;
  GetExitCodeProcess(child.hProcess, &code);
  if (!ended.timed_out && code >= 0xc0000000u) ended.signal = exception_text(code);
  ended.code = static_cast<int>(code);
  CloseHandle(read_end);
  CloseHandle(child.hThread);
  CloseHandle(child.hProcess);
  return ended;
}

}  // namespace check::os
