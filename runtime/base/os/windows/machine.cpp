// os/machine.hpp over Win32 calls. A job object's limit on committed memory counts as a limit on the machine's memory.
#include <base/os/machine.hpp>

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX 1
#include <windows.h>
// After windows.h, whose types it uses.
#include <psapi.h>

#include <algorithm>
#include <exception>
#include <vector>

namespace brim::os {

uint32_t usable_cores() noexcept {
  const DWORD logical = std::max<DWORD>(1, GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
  try {
    DWORD bytes = 0;
    GetLogicalProcessorInformationEx(RelationProcessorCore, nullptr, &bytes);
    std::vector<unsigned char> buffer(bytes);
    auto* const first = reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(buffer.data());
    if (bytes == 0 || !GetLogicalProcessorInformationEx(RelationProcessorCore, first, &bytes)) return logical;
    DWORD_PTR process = 0, system = 0;
    // 0 where the process spans several groups: then nothing is masked.
    if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &system)) process = 0;
    uint32_t cores = 0;
    for (DWORD at = 0; at < bytes;) {
      const auto* const core = reinterpret_cast<const SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(buffer.data() + at);
      if (process == 0 || (core->Processor.GroupMask[0].Mask & process) != 0) ++cores;
      at += core->Size;
    }
    return std::max(1u, std::min<uint32_t>(cores, logical));
  } catch (const std::exception&) {
    return logical;
  }
}

uint64_t memory_left() noexcept {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof(status);
  return GlobalMemoryStatusEx(&status) ? status.ullAvailPhys : UINT64_MAX;
}

void* take_pages(size_t bytes) noexcept {
  return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void give_pages(void* pages, size_t) noexcept { VirtualFree(pages, 0, MEM_RELEASE); }

void discard(void* address, size_t bytes) noexcept {
  // Whole pages only, as the call rounds outwards.
  SYSTEM_INFO info{};
  GetSystemInfo(&info);
  const uintptr_t page = info.dwPageSize;
  const auto begin = (reinterpret_cast<uintptr_t>(address) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(address) + bytes) / page * page;
  if (begin < end) VirtualAlloc(reinterpret_cast<void*>(begin), end - begin, MEM_RESET, PAGE_READWRITE);
}

MemoryReading system_memory() {
  MemoryReading reading;
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof(status);
  if (!GlobalMemoryStatusEx(&status)) return reading;
  reading.total = status.ullTotalPhys;
  reading.available = status.ullAvailPhys;
  reading.machine_total = reading.total;
  reading.machine_available = reading.machine_free = reading.available;
  reading.commit_limit = status.ullTotalPageFile;
  reading.commit_left = status.ullAvailPageFile;
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION job{};
  if (QueryInformationJobObject(nullptr, JobObjectExtendedLimitInformation, &job, sizeof(job), nullptr) &&
      (job.BasicLimitInformation.LimitFlags & JOB_OBJECT_LIMIT_JOB_MEMORY)) {
    // What the job's processes have committed by now is not told, only their peak: this process's own counts.
    PROCESS_MEMORY_COUNTERS used{};
    const bool known = K32GetProcessMemoryInfo(GetCurrentProcess(), &used, sizeof(used));
    const uint64_t limit = job.JobMemoryLimit, taken = known ? used.PagefileUsage : 0;
    reading.limits.push_back({"the job object's memory limit", limit, limit > taken ? limit - taken : 0});
    if (limit < reading.total || reading.limits[0].left < reading.available) {
      reading.total = std::min(reading.total, limit);
      reading.available = std::min(reading.available, reading.limits[0].left);
      reading.limited_by = reading.limits[0].name;
    }
  }
  return reading;
}

SignalsBlocked::SignalsBlocked() noexcept = default;
SignalsBlocked::~SignalsBlocked() = default;

void name_this_thread(const char* name) noexcept {
  // SetThreadDescription is missing before Windows 10 1607, so it is looked up.
  using SetDescription = HRESULT(WINAPI*)(HANDLE, PCWSTR);
  const HMODULE kernel = GetModuleHandleW(L"kernel32.dll");
  if (!kernel) return;
  const auto set =
      reinterpret_cast<SetDescription>(reinterpret_cast<void*>(GetProcAddress(kernel, "SetThreadDescription")));
  if (!set) return;
  wchar_t wide[16] = {};
  for (size_t i = 0; i + 1 < 16 && name[i] != '\0'; ++i) wide[i] = static_cast<unsigned char>(name[i]);
  set(GetCurrentThread(), wide);
}

}  // namespace brim::os
