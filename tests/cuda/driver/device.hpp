// The device behind the test driver: classes of machines, memory, streams whose work is done later by a thread of the
// driver's, modules of PTX, graphs.
//
// Device allocations lie at addresses that the host cannot touch: a host that follows one dies at once. Streams run as
// far as their waits allow, in turns, so that work of two streams without an event between them has no order that a
// caller could rely on. A Fault of a kernel is printed and sticks to the context, as on a real device.
#pragma once

#include <cuda.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "driver/host_pages.hpp"

namespace test_cuda {

struct Profile {
  const char* name;
  bool integrated, pageable, host_page_tables, concurrent_managed;
  int major, minor;
  uint64_t total;
  int memory_clock, memory_bits;  // kHz; 0: the driver does not know
};

struct Event {
  uint64_t recorded = 0, done = 0;  // numbers of its recordings
};

struct Work {
  enum Kind { kRun, kRecord, kWait } kind;
  std::function<void()> run;
  Event* event = nullptr;
  uint64_t number = 0;
};

struct Stream {
  std::deque<Work> work;
};

struct LoadedModule {
  std::shared_ptr<ptx::Module> code;
};

struct Node {
  const ptx::Kernel* kernel = nullptr;
  ptx::Shape grid, block;
  std::vector<std::byte> params;
  uint32_t level = 0;  // the longest way from a node that waits for nothing
};
struct Graph {
  std::vector<std::unique_ptr<Node>> nodes;
};
struct Ready {
  std::map<const Node*, size_t> place;
  std::vector<Node> nodes;  // in the order in which they run
};

inline constexpr uint32_t kMostGroups = 65535;  // of every card

class Device {
 public:
  static Device& get();

  void configure(const std::string& options);

  // Before every function. Not CUDA_SUCCESS: what it has to answer.
  CUresult enter(const char* function, bool needs_context);

  CUresult allocate(uint64_t bytes, bool pinned, uint64_t* address);
  CUresult release(uint64_t address, bool pinned);
  void submit(Stream* stream, Work work);
  void finish(Stream* stream);  // null: all
  void finish(const Event* event);
  CUresult copy(uint64_t to, uint64_t from, uint64_t bytes, Stream* stream);
  CUresult load(const char* image, LoadedModule** out);
  void launch(const Ready& ready, Stream* stream);
  CUresult sticky();

  std::mutex mutex;  // of all below
  std::condition_variable changed;
  const Profile* profile;
  uint64_t total = 0, used = 0, used_pinned = 0;
  uint64_t most_used[2] = {};          // of the device's memory, pinned
  uint32_t most_groups = kMostGroups;  // of a grid in y and z
  uint32_t retained = 0;
  CUresult lost = CUDA_SUCCESS;
  std::set<Stream*> streams;
  std::set<Event*> events;
  std::set<LoadedModule*> modules;
  std::set<Graph*> graphs;
  std::set<Ready*> ready;
  std::map<std::string, uint64_t> calls;
  uint64_t all_calls = 0, instructions = 0;
  uint64_t live_allocations() const { return sizes_.size(); }

 private:
  Device();
  void work();
  void run(const Node& node);
  void note_reached(const ptx::Kernel& kernel, const std::vector<uint8_t>& reached);

  struct Block {
    std::vector<std::byte> bytes;
    bool pinned;
  };
  // What a kernel or copy may reach beside allocations; null: nothing.
  ptx::HostMemory* host_memory();

  HostPages host_pages_;
  std::string host_ = "";
  std::shared_ptr<const ptx::Memory> memory_ = std::make_shared<ptx::Memory>();
  std::map<uint64_t, Block> sizes_;              // what users allocated
  std::vector<std::vector<std::byte>> statics_;  // variables of modules, kept
  std::map<std::string, std::shared_ptr<ptx::Module>> parsed_;
  uint64_t next_address_ = 1ull << 42;
  uint64_t fail_at_ = 0, most_instructions_ = 0;
  std::string fail_of_;  // empty: of all functions
  std::string reached_file_;
  std::map<const ptx::Kernel*, std::vector<uint8_t>> reached_;
  CUresult fail_with_ = CUDA_ERROR_OUT_OF_MEMORY;
  bool configured_ = false, reversed_ = false;
  bool busy_ = false;
  size_t turn_ = 0;
};

}  // namespace test_cuda
