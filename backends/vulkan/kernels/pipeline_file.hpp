// The driver's compiled pipelines, kept in a file from one start to the next: without it a driver that has no cache of
// its own compiles for seconds whenever a model is loaded.
//
// One file a device and driver in the folder that the setting `cache` names; without the setting nothing is written.
// Drivers may trust what they are given, so a file is handed on only if its checksum and the driver's own mark are
// right; any other is as good as none and replaced later. Nothing here is an error: a folder that cannot be written
// gives a warning.
#pragma once

#include "driver/functions.hpp"

namespace brim_vulkan {

struct PipelineFile {
  char path[512] = {};  // empty: no file
  uint8_t mark[VK_UUID_SIZE] = {};
};

// The file of a device in `folder`; none where that is empty or too long.
PipelineFile pipeline_file(const char* folder, const VkPhysicalDeviceProperties& device);

// What it holds; empty where there is nothing of use.
Array<std::byte> read_pipelines(Memory memory, const PipelineFile& file);
void write_pipelines(Memory memory, const PipelineFile& file, const Array<std::byte>& data) noexcept;

}  // namespace brim_vulkan
