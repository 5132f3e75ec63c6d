// What the checker asks of the operating system: children with a time limit, libraries, pages that may not be touched,
// and what this process holds at the moment. One implementation a system, in linux/ and windows/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace check {
// What main does.
int program(int argc, char** argv);
}  // namespace check

namespace check::os {

// How a child came to its end.
struct Ended {
  bool timed_out = false;
  int code = 0;         // where `signal` is empty
  std::string signal;   // "SIGSEGV (invalid memory reference)"; empty: it exited
  std::string printed;  // the beginning of what it wrote to its standard streams
};
// Runs this program again with these arguments. A child that is still there after `limit_seconds` is ended.
Ended run_self(const std::vector<std::string>& arguments, double limit_seconds);

// A file of this process's own in the folder for temporary files; it does not exist yet.
std::string temporary_path();

// In a child: a crash, or the end of its time, appends {"crashed_in": "what set_doing named last"} to the file. Only
// quiet where the system offers no way.
void report_crashes_to(const std::string& file);
// The call under way, static text: what a crash report names.
void set_doing(const char* what) noexcept;
// What is special in what the calls from now on are given, "bindings without a tail"; empty: nothing. Findings and
// crash reports tell it.
void set_about(const std::string& what);
std::string about();

// Stays open until the process ends. Null, and `error` in words, where it cannot be opened.
void* open_library(const std::string& path, std::string* error);
void* find_symbol(void* library, const char* name);

uint64_t page_size();
enum class Access { kNone, kRead, kWrite };
// Whole pages, zeroed, readable and writable; null when exhausted.
void* map_pages(uint64_t bytes);
void protect_pages(void* at, uint64_t bytes, Access access);
void unmap_pages(void* at, uint64_t bytes);

// What this process holds. `known` is false where the system does not tell.
struct Holdings {
  bool known = false;
  uint64_t threads = 0;
  std::vector<std::string> files;  // "3 -> /dev/null"
};
Holdings holdings();

// Calls that went through the process's memory functions, its environment and its thread library while counting, in
// threads that are not paused. `known` is false in builds that cannot stand in front of those functions.
struct Counted {
  bool known = false;
  uint64_t allocations = 0, maps = 0, environment = 0, threads = 0;
  uint64_t live = 0;  // allocations less frees, of everybody's; wraps where more was freed
};
// Of everybody, or of the library alone that holds the address `of`: what its own code calls, itself or through the C
// and C++ libraries. What a driver does below a call of the library's is the driver's.
void start_counting(const void* of = nullptr);
Counted stop_counting();
// Counts on from what was counted so far, of the same callers.
void resume_counting();
// While one lives, its thread's calls are the checker's own.
class Uncounted {
 public:
  Uncounted();
  ~Uncounted();
  Uncounted(const Uncounted&) = delete;
};
// From now on this process's allocations begin full of a pattern that the byte chooses, where the system can do that;
// 0: as they come.
void soil_allocations(int with);
// The n-th allocation from now on of those that are counted, from 0, fails once; -1: none. Returns whether the last one
// set did fail.
bool fail_allocation(int64_t n);

}  // namespace check::os
