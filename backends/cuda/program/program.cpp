#include "program/program.hpp"

#include <gpu/run.hpp>

namespace brim_cuda {
namespace {

constexpr uint64_t kHead = 64;  // of the program's buffer: the Run block; then the step block's copy, then the tables
// What a driver keeps of a node: more than any that was looked at.
constexpr uint64_t kNodeBytes = 1024;

uint64_t tables_at(uint64_t step_bytes) { return kHead + (step_bytes + 63) / 64 * 64; }

// begin_run's.
struct BeginArguments {
  BeginArguments(const brim_program* program, const Run& of)
      : run(of),
        to(program->tables->address),
        copy(to + kHead),
        words(static_cast<uint32_t>(program->step_bytes / 4)) {}

  Run run;
  CUdeviceptr to, copy;
  uint32_t words;
  void* pointers[4] = {&run, &to, &copy, &words};

  CUDA_KERNEL_NODE_PARAMS params(const brim_program* program) {
    CUDA_KERNEL_NODE_PARAMS params{};
    params.func = program->begin;
    params.gridDimX = params.gridDimY = params.gridDimZ = 1;
    params.blockDimX = 1024;
    params.blockDimY = params.blockDimZ = 1;
    params.kernelParams = pointers;
    return params;
  }
};

void build(brim_program* program, Lowered& lowered) {
  Device* device = program->device;
  const Driver& cu = device->cu();
  Array<uint32_t> level(device->host());
  program->levels = schedule(lowered.touches, level);
  program->launches = static_cast<uint32_t>(lowered.launches.size());
  program->begin = device->modules.begin_run();
  check_on(device, cu.GraphCreate(&program->graph, 0), "creating a program");
  BeginArguments arguments(program, {});
  CUDA_KERNEL_NODE_PARAMS params = arguments.params(program);
  void* pointers[2] = {nullptr, &arguments.to};
  check_on(device, cu.GraphAddKernelNode(&program->first, program->graph, nullptr, 0, &params), "creating a program");
  Array<CUgraphNode> before(device->host()), now(device->host());
  before.push_back(program->first);
  for (uint32_t l = 0; l < program->levels; ++l) {
    for (size_t i = 0; i < lowered.launches.size(); ++i) {
      if (level[i] != l) continue;
      const Launch& launch = lowered.launches[i];
      pointers[0] = lowered.blob.data() + launch.arguments;
      params.kernelParams = pointers;
      params.func = device->modules.get(launch);
      params.gridDimX = launch.groups[0];
      params.gridDimY = launch.groups[1];
      params.gridDimZ = launch.groups[2];
      params.blockDimX = kThreads[static_cast<uint32_t>(launch.kernel)];
      CUgraphNode node = nullptr;
      check_on(device, cu.GraphAddKernelNode(&node, program->graph, before.data(), before.size(), &params),
               "creating a program");
      now.push_back(node);
    }
    std::swap(before, now);
    now.clear();
  }
  check_on(device, cu.GraphInstantiate(&program->ready, program->graph, 0), "creating a program");
}

// The tables of the blob into device memory, waited for.
void upload(brim_program* program, const Array<std::byte>& blob) {
  Device* device = program->device;
  if (blob.empty()) return;
  brim_queue* queue = create_queue(device, nullptr);
  brim_buffer* staging = nullptr;
  try {
    staging = allocate_buffer(device, 1, blob.size());
    std::memcpy(staging->mapped, blob.data(), blob.size());
    copy(queue, program->tables, tables_at(program->step_bytes), staging, 0, blob.size());
    drain(queue);
  } catch (...) {
    destroy_queue(queue);
    free_buffer(staging);
    throw;
  }
  destroy_queue(queue);
  free_buffer(staging);
}

void say_size(const brim_program* program) {
  const brim_plugin& plugin = *program->device->plugin;
  char text[160];
  const int n = std::snprintf(text, sizeof text, "a program for %u rows: %u kernels in %u levels",
                              program->bucket.n_tokens, program->launches, program->levels);
  plugin.memory.api->log(plugin.memory.host, BRIM_LOG_DEBUG, {text, static_cast<uint64_t>(n)});
}

}  // namespace

void measure_program(Device* device, const brim_program_info& info, brim_program_cost* out) {
  Lowered lowered(device->host());
  lower(device->target(), info, false, 0, lowered);
  brim_program_cost cost{};
  cost.workspace = lowered.workspace;
  cost.persistent = sizeof(brim_program) + tables_at(info.step->bytes) + lowered.blob.size() +
                    kNodeBytes * (lowered.launches.size() + 1);
  // Arrays that grow hold their old content meanwhile; bindings, lifetimes and levels are small beside them. The blob
  // goes through a buffer of its size.
  cost.build_peak = 3 * lowered.blob.capacity() +
                    2 * (lowered.launches.capacity() * sizeof(Launch) +
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
    program->tables = allocate_buffer(device, 0, tables_at(program->step_bytes) + blob_bytes);
    Lowered live(device->host());
    lower(device->target(), info, true, program->tables->address + tables_at(program->step_bytes), live);
    upload(program, live.blob);
    const Current current(device);
    build(program, live);
    say_size(program);
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
  {
    const Releasing current(device);
    if (program->ready != nullptr) device->cu().GraphExecDestroy(program->ready);
    if (program->graph != nullptr) device->cu().GraphDestroy(program->graph);
  }
  free_buffer(program->tables);
  unmake(device->host(), program);
}

void run_program(brim_program* program, brim_queue* queue, const brim_run& run) {
  if (queue->device != program->device) {
    fail(BRIM_INVALID_ARGUMENT, "the queue belongs to another device than the program");
  }
  enqueue(queue, {brim_queue::Operation::kRun, nullptr, 0, 0, 0, 0, program,
                  head_of(run, program->bucket, program->step_bytes)});
}

void launch_program(brim_program* program, CUstream stream, const Run& run) {
  Device* device = program->device;
  BeginArguments arguments(program, run);
  const CUDA_KERNEL_NODE_PARAMS params = arguments.params(program);
  check_on(device, device->cu().GraphExecKernelNodeSetParams(program->ready, program->first, &params), "a run");
  check_on(device, device->cu().GraphLaunch(program->ready, stream), "a run");
}

}  // namespace brim_cuda
