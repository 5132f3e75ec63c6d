#include "program/program.hpp"

#include <chrono>
#include <gpu/run.hpp>

namespace brim_vulkan {
namespace {

constexpr uint64_t kBlob = 64;  // where the blob begins in the program's buffer; the Run block lies before it
// What a driver keeps of one recorded launch and its barrier: more than any driver that was looked at.
constexpr uint64_t kRecordedBytes = 512;

// One level after the other, a barrier between two. The order between two barriers is free: with the setting `reversed`
// it is the reverse of the program's, so that a conflict that the schedule missed, or a barrier that is not recorded,
// shows as a wrong result on a device that runs everything in the order of recording.
void record(brim_program* program, const Lowered& lowered) {
  Device* device = program->device;
  Array<uint32_t> level(device->host());
  const uint32_t levels = schedule(lowered.touches, level);
  VkCommandPoolCreateInfo pool = typed<VkCommandPoolCreateInfo>(VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO);
  pool.queueFamilyIndex = device->queue_family;
  check_on(device, device->vk.CreateCommandPool(device->handle, &pool, nullptr, &program->pool), "creating a program");
  VkCommandBufferAllocateInfo allocate =
      typed<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
  allocate.commandPool = program->pool;
  allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocate.commandBufferCount = 1;
  check_on(device, device->vk.AllocateCommandBuffers(device->handle, &allocate, &program->commands),
           "creating a program");
  VkCommandBufferBeginInfo begin = typed<VkCommandBufferBeginInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO);
  begin.flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT;
  check_on(device, device->vk.BeginCommandBuffer(program->commands, &begin), "recording a program");
  const size_t n = lowered.launches.size();
  Array<uint32_t> open(device->host());  // launches behind the last barrier
  const auto close = [&] {
    for (size_t i = 0; i < open.size(); ++i) {
      Launch launch = lowered.launches[open[device->plugin->reversed ? open.size() - 1 - i : i]];
      launch.arguments += program->arguments->address + kBlob;
      launch.run = program->arguments->address;
      record_launch(device, program->commands, launch, device->pipelines.get(launch.kernel, launch.constants));
    }
    open.clear();
  };
  const auto barrier = [&] {
    close();
    record_barrier(device, program->commands);
  };
  for (uint32_t now = 0; now < levels; ++now) {
    if (now != 0) barrier();
    for (uint32_t i = 0; i < n; ++i) {
      if (level[i] == now) open.push_back(i);
    }
  }
  close();
  record_last_barrier(device, program->commands);
  check_on(device, device->vk.EndCommandBuffer(program->commands), "recording a program");
  program->launches = static_cast<uint32_t>(n);
  program->barriers = levels == 0 ? 0 : levels - 1;
}

// Of all weights that the program is bound to.
uint64_t weight_bytes(const brim_program_info& info) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < info.n_bindings; ++i) {
    const brim_binding& b = *BRIM_ELEM(brim_binding, info.bindings, info.binding_stride, i);
    if (b.value != 0 && brim_graph_value(info.graph, b.value)->kind == BRIM_VALUE_WEIGHT) bytes += b.bytes;
  }
  return bytes;
}

template <class... Arguments>
void say(const brim_program* program, const char* format, Arguments... arguments) {
  const brim_plugin& plugin = *program->device->plugin;
  char text[160];
  const int n = std::snprintf(text, sizeof text, format, arguments...);
  plugin.memory.api->log(plugin.memory.host, BRIM_LOG_DEBUG, {text, static_cast<uint64_t>(n)});
}

}  // namespace

void measure_program(Device* device, const brim_program_info& info, brim_program_cost* out) {
  Lowered lowered(device->host());
  lower(device->target(), info, false, 0, lowered);
  brim_program_cost cost{};
  cost.workspace = lowered.workspace;
  cost.persistent = sizeof(brim_program) + kBlob + lowered.blob.size() + kRecordedBytes * lowered.launches.size();
  // Arrays that grow hold their old content meanwhile; bindings, lifetimes and levels are small beside them.
  cost.build_peak = 2 * (lowered.blob.capacity() + lowered.launches.capacity() * sizeof(Launch) +
                         lowered.touches.capacity() * (sizeof(Touches) + sizeof(uint32_t))) +
                    info.n_bindings * 2ull * sizeof(brim_binding) + 4096;
  answer(out, cost);
}

brim_program* create_program(Device* device, const brim_program_info& info) {
  need_alive(device);
  uint64_t blob_bytes = 0;
  {
    Lowered sizes(device->host());
    lower(device->target(), info, false, 0, sizes);
    blob_bytes = sizes.blob.size();
  }
  brim_program* program = make<brim_program>(device->host(), device);
  try {
    program->bucket = *info.bucket;
    program->step_bytes = info.step->bytes;
    program->arguments = allocate_buffer(device, device->heaps.n - 1, kBlob + blob_bytes);
    Lowered live(device->host());
    lower(device->target(), info, true, program->arguments->address + kBlob, live);
    std::memcpy(program->arguments->mapped + kBlob, live.blob.data(), live.blob.size());
    record(program, live);
    say(program, "a program for %u rows: %u dispatches, %u barriers, %llu bytes of arguments, %llu bytes of weights",
        program->bucket.n_tokens, program->launches, program->barriers,
        static_cast<unsigned long long>(program->arguments->bytes),
        static_cast<unsigned long long>(weight_bytes(info)));
    return program;
  } catch (...) {
    destroy_program(program);
    throw;
  }
}

void destroy_program(brim_program* program) noexcept {
  if (program == nullptr) return;
  Device* device = program->device;
  let_finish(device);
  if (program->runs != 0) {
    say(program, "a program for %u rows was run %llu times; handing a run to the driver took %.1f us",
        program->bucket.n_tokens, static_cast<unsigned long long>(program->runs),
        static_cast<double>(program->handing_over_ns) / static_cast<double>(program->runs) / 1000.0);
  }
  unmake(device->host(), program);
}

void run_program(brim_program* program, brim_queue* queue, const brim_run& run) {
  const auto start = std::chrono::steady_clock::now();
  Device* device = program->device;
  if (queue->device != device) {
    fail(BRIM_INVALID_ARGUMENT, "the queue belongs to another device than the program");
  }
  const Run head = head_of(run, program->bucket, program->step_bytes);
  const VkCommandBuffer commands = begin_commands(queue);
  record_barrier(device, commands);  // behind all that the queue had before, this program's last run too
  device->vk.CmdUpdateBuffer(commands, program->arguments->handle, 0, sizeof head, &head);
  record_barrier(device, commands);
  submit(queue, commands, program->commands);
  ++program->runs;
  program->handing_over_ns += static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count());
}

}  // namespace brim_vulkan

brim_program::~brim_program() {
  if (pool != VK_NULL_HANDLE) device->vk.DestroyCommandPool(device->handle, pool, nullptr);
  brim_vulkan::free_buffer(arguments);
}
