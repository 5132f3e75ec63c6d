#include "driver/device.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace test_cuda {
namespace {

constexpr uint64_t kMiB = 1ull << 20;
// The bits of topology.md's table; totals and memory clocks of machines as they report them.
constexpr Profile kProfiles[] = {
    {"discrete", false, false, false, true, 8, 9, 32607 * kMiB, 14001000, 512},
    {"discrete-hmm", false, true, false, true, 8, 9, 32607 * kMiB, 14001000, 512},
    {"gb10", true, true, true, true, 12, 1, 122570 * kMiB, 8533000, 256},  // twice what its memory does
    {"gh200", false, true, true, true, 9, 0, 97871 * kMiB, 2619000, 6144},
    {"jetson", true, false, false, false, 8, 7, 62841 * kMiB, 3199000, 256},
    {"windows", false, false, false, false, 8, 9, 32607 * kMiB, 0, 512}};

}  // namespace

Device& Device::get() {
  static Device* device = new Device;  // its thread may outlive everything static
  return *device;
}

Device::Device() : profile(&kProfiles[0]), total(kProfiles[0].total) {
  std::thread([this] { work(); }).detach();
}

void Device::configure(const std::string& options) {
  const std::lock_guard lock(mutex);
  configured_ = true;
  profile = &kProfiles[0];
  fail_at_ = all_calls = instructions = most_instructions_ = 0;
  most_groups = kMostGroups;
  fail_of_.clear();
  reached_file_.clear();
  host_.clear();
  host_pages_.forget();
  most_used[0] = most_used[1] = 0;
  fail_with_ = CUDA_ERROR_OUT_OF_MEMORY;
  reversed_ = false;
  lost = CUDA_SUCCESS;
  calls.clear();
  uint64_t other_total = 0;
  for (size_t at = 0; at < options.size();) {
    const size_t end = std::min(options.find(',', at), options.size());
    const std::string option = options.substr(at, end - at), key = option.substr(0, option.find('='));
    const std::string value = option.size() > key.size() ? option.substr(key.size() + 1) : "";
    at = end + 1;
    if (key == "class") {
      const auto found = std::ranges::find_if(kProfiles, [&](const Profile& p) { return value == p.name; });
      if (found == std::end(kProfiles)) {
        std::fprintf(stderr, "test driver: no class '%s'\n", value.c_str());
        std::abort();
      }
      profile = found;
    } else if (key == "total") {
      other_total = std::stoull(value);
    } else if (key == "fail") {
      fail_at_ = std::stoull(value);
    } else if (key == "of") {
      fail_of_ = value;
    } else if (key == "host") {
      host_ = value;
    } else if (key == "groups") {
      most_groups = static_cast<uint32_t>(std::stoul(value));
    } else if (key == "most") {
      most_instructions_ = std::stoull(value);
    } else if (key == "reached") {
      reached_file_ = value;
    } else if (key == "error") {
      fail_with_ = static_cast<CUresult>(std::stoul(value));
    } else if (key == "reversed") {
      reversed_ = value == "1";
    } else {
      std::fprintf(stderr, "test driver: no option '%s'\n", key.c_str());
      std::abort();
    }
  }
  total = other_total != 0 ? other_total : profile->total;
}

CUresult Device::sticky() {
  const std::lock_guard lock(mutex);
  return lost;
}

namespace {
bool is_sticky(CUresult result) {
  return result == CUDA_ERROR_LAUNCH_FAILED || result == CUDA_ERROR_ILLEGAL_ADDRESS || result == CUDA_ERROR_UNKNOWN;
}
}  // namespace

CUresult Device::enter(const char* function, bool needs_context) {
  {
    const std::lock_guard lock(mutex);
    if (configured_) {
      const uint64_t of_it = ++calls[function];
      ++all_calls;
      const bool fails = fail_at_ != 0 && (fail_of_.empty() ? all_calls : fail_of_ == function ? of_it : 0) == fail_at_;
      if (!fails) return needs_context ? lost : CUDA_SUCCESS;
      if (needs_context && is_sticky(fail_with_)) lost = fail_with_;
      return fail_with_;
    }
  }
  const char* options = std::getenv("BRIM_TEST_CUDA");
  configure(options == nullptr ? "" : options);
  return enter(function, needs_context);
}

// ---- memory ----

constexpr uint64_t kPage = 4096;

CUresult Device::allocate(uint64_t bytes, bool pinned, uint64_t* address) {
  const std::lock_guard lock(mutex);
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (!pinned && bytes > total - used) return CUDA_ERROR_OUT_OF_MEMORY;
  Block block{{}, pinned};
  try {
    block.bytes.assign(bytes + kPage, std::byte{0xff});  // NaN, and no address or index
  } catch (const std::bad_alloc&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  // Whole pages, as the driver gives pinned memory.
  std::byte* host = block.bytes.data() + (kPage - reinterpret_cast<uint64_t>(block.bytes.data()) % kPage);
  if (pinned) {
    *address = reinterpret_cast<uint64_t>(host);
    used_pinned += bytes;
  } else {
    *address = next_address_;
    next_address_ += (bytes / 512 + 2) * 512;
    used += bytes;
  }
  most_used[0] = std::max(most_used[0], used);
  most_used[1] = std::max(most_used[1], used_pinned);
  auto memory = std::make_shared<ptx::Memory>(*memory_);
  memory->add({*address, *address + bytes, host, false});
  memory_ = std::move(memory);
  sizes_.emplace(*address, std::move(block));
  return CUDA_SUCCESS;
}

CUresult Device::release(uint64_t address, bool pinned) {
  finish(static_cast<Stream*>(nullptr));  // as drivers do
  const std::lock_guard lock(mutex);
  const auto found = sizes_.find(address);
  if (found == sizes_.end() || found->second.pinned != pinned) return CUDA_ERROR_INVALID_VALUE;
  (pinned ? used_pinned : used) -= found->second.bytes.size() - kPage;
  auto memory = std::make_shared<ptx::Memory>(*memory_);
  memory->remove(address);
  memory_ = std::move(memory);
  sizes_.erase(found);
  return CUDA_SUCCESS;
}

// ---- streams ----

void Device::work() {
  std::unique_lock lock(mutex);
  for (;;) {
    // The next stream in turn whose first work waits for nothing.
    Stream* next = nullptr;
    for (size_t i = 0; i < streams.size() && next == nullptr; ++i) {
      const size_t turn = reversed_ ? streams.size() - 1 - i : (turn_ + i) % streams.size();
      Stream* stream = *std::next(streams.begin(), static_cast<ptrdiff_t>(turn));
      if (stream->work.empty()) continue;
      const Work& first = stream->work.front();
      if (first.kind == Work::kWait && first.event->done < first.number && lost == CUDA_SUCCESS) continue;
      next = stream;
    }
    if (next == nullptr) {
      changed.wait(lock);
      continue;
    }
    ++turn_;
    Work& work = next->work.front();
    if (work.kind == Work::kRun && lost == CUDA_SUCCESS) {
      busy_ = true;
      lock.unlock();
      work.run();
      lock.lock();
      busy_ = false;
    } else if (work.kind == Work::kRecord) {
      work.event->done = std::max(work.event->done, work.number);
    }
    next->work.pop_front();
    changed.notify_all();
  }
}

void Device::submit(Stream* stream, Work work) {
  const std::lock_guard lock(mutex);
  stream->work.push_back(std::move(work));
  changed.notify_all();
}

void Device::finish(Stream* stream) {
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] {
    if (stream != nullptr) return stream->work.empty();
    return std::ranges::all_of(streams, [](const Stream* s) { return s->work.empty(); });
  });
}
void Device::finish(const Event* event) {
  std::unique_lock lock(mutex);
  const uint64_t number = event->recorded;
  changed.wait(lock, [&] { return event->done >= number; });
}

CUresult Device::copy(uint64_t to, uint64_t from, uint64_t bytes, Stream* stream) {
  std::byte *target = nullptr, *source = nullptr;
  {
    const std::lock_guard lock(mutex);
    target = memory_->at(to, bytes, true);
    source = memory_->at(from, bytes);
    if (ptx::HostMemory* host = host_memory()) {
      if (target == nullptr) target = host->at(to, bytes, true);
      if (source == nullptr) source = host->at(from, bytes, false);
    }
  }
  if (target == nullptr || source == nullptr) return CUDA_ERROR_INVALID_VALUE;
  submit(stream, {Work::kRun, [=] { std::memmove(target, source, bytes); }});
  return CUDA_SUCCESS;
}

// ---- kernels ----

CUresult Device::load(const char* image, LoadedModule** out) {
  if (std::memcmp(image, "\177ELF", 4) == 0) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  const std::string text(image);
  const std::lock_guard lock(mutex);
  std::shared_ptr<ptx::Module>& module = parsed_[text];
  if (!module) {
    try {
      module = ptx::parse(text, [this](const ptx::Variable& v) {
        statics_.emplace_back(v.init.size());
        std::memcpy(statics_.back().data(), v.init.data(), v.init.size());
        const uint64_t at = next_address_;
        next_address_ += (v.bytes / 512 + 2) * 512;
        auto memory = std::make_shared<ptx::Memory>(*memory_);
        memory->add({at, at + v.bytes, statics_.back().data(), false});
        memory_ = std::move(memory);
        return at;
      });
    } catch (const ptx::Fault& fault) {
      std::fprintf(stderr, "test driver: %s\n", fault.what());
      return CUDA_ERROR_INVALID_PTX;
    }
  }
  *out = new LoadedModule{module};
  modules.insert(*out);
  return CUDA_SUCCESS;
}

void Device::run(const Node& node) {
  std::shared_ptr<const ptx::Memory> memory;
  ptx::Options options;
  std::vector<uint8_t> reached;
  {
    const std::lock_guard lock(mutex);
    if (lost != CUDA_SUCCESS) return;
    memory = memory_;
    options.reversed = reversed_;
    options.most_instructions = most_instructions_;
    options.host = host_memory();
    if (!reached_file_.empty()) reached.resize(node.kernel->code.size());
  }
  if (!reached.empty()) options.reached = reached.data();
  ptx::Counts counts;
  try {
    ptx::launch(*node.kernel, node.grid, node.block, node.params, *memory, options, &counts);
  } catch (const ptx::Fault& fault) {
    std::fprintf(stderr, "test driver: %s\n", fault.what());
    const std::lock_guard lock(mutex);
    lost = CUDA_ERROR_LAUNCH_FAILED;
  }
  if (!reached.empty()) note_reached(*node.kernel, reached);
  const std::lock_guard lock(mutex);
  instructions += counts.warp_instructions;
}

ptx::HostMemory* Device::host_memory() {
  if (!profile->host_page_tables || host_ == "none") return nullptr;
  host_pages_.begin(host_ == "stale");
  return &host_pages_;
}

void Device::note_reached(const ptx::Kernel& kernel, const std::vector<uint8_t>& reached) {
  std::vector<uint8_t>& before = reached_[&kernel];
  before.resize(reached.size());
  std::FILE* file = nullptr;
  for (size_t i = 0; i < reached.size(); ++i) {
    if (reached[i] <= before[i]) continue;
    before[i] = 1;
    if (file == nullptr) file = std::fopen(reached_file_.c_str(), "ae");
    if (file != nullptr) std::fprintf(file, "%s %u\n", kernel.name.c_str(), kernel.code[i].line);
  }
  if (file != nullptr) std::fclose(file);
}

void Device::launch(const Ready& graph, Stream* stream) {
  // The arguments of this launch: later changes are for later ones.
  submit(stream, {Work::kRun, [this, nodes = graph.nodes]() mutable {
                    if (reversed_) std::ranges::reverse(nodes);
                    std::ranges::stable_sort(nodes, {}, &Node::level);
                    for (const Node& node : nodes) run(node);
                  }});
}

}  // namespace test_cuda
