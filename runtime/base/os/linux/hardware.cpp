// os/hardware.hpp from /proc and /sys.
#include <array>
#include <base/os/file.hpp>
#include <base/os/hardware.hpp>
#include <base/os/linux/machine_files.hpp>
#include <base/os/linux/text_files.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>

namespace brim::os {
namespace {

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

// "0000:01:00.0"; empty for one that no PCI device has.
std::string pci_name(uint64_t pci) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%04x:%02x:%02x.%x", static_cast<unsigned>(pci >> 32),
                static_cast<unsigned>(pci >> 16 & 0xff), static_cast<unsigned>(pci >> 8 & 0xff),
                static_cast<unsigned>(pci & 0xff));
  return text.data();
}

std::string pci_folder(const std::string& root, uint64_t pci) {
  return pci == 0 ? std::string() : root + "/sys/bus/pci/devices/" + pci_name(pci);
}

// The decimal number that the text starts with ("16.0 GT/s PCIe"), 0 for others.
double decimal(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && std::isfinite(value) && value > 0 ? value : 0;
}

// Of one device's own link, bytes/s; 0 where it has none.
double link_bandwidth(const std::string& folder) {
  const double rate = decimal(text_of(folder + "/max_link_speed"));  // GT/s a lane
  const double lanes = decimal(text_of(folder + "/max_link_width"));
  const double coding = rate <= 5 ? 0.8 : 128.0 / 130;  // 8b/10b up to PCIe 2, 128b/130b from 3 on
  return lanes > 64 ? 0 : rate * 1e9 / 8 * coding * lanes;
}

// The number behind "key=" in a line, as "avg10=0.12".
double pressure_of(const std::string& text, std::string_view line) {
  const size_t at = text.find(line);
  if (at == std::string::npos) return 0;
  const size_t value = text.find("avg10=", at);
  return value == std::string::npos ? 0 : decimal(text.substr(value + 6, 16));
}

}  // namespace

std::vector<NumaNode> numa_nodes_of(const std::string& root) {
  std::vector<NumaNode> nodes;
  const std::string folder = root + "/sys/devices/system/node";
  if (!is_folder(folder)) return nodes;
  for (const std::string& name : names_in(folder)) {
    if (!name.starts_with("node")) continue;
    const auto id = number(std::string_view(name).substr(4));
    if (!id || "node" + std::to_string(*id) != name) continue;
    // "Node 0 MemTotal:  131 kB"
    std::string info = text_of(folder + "/" + name + "/meminfo");
    const std::string prefix = "Node " + std::to_string(*id) + " ";
    for (size_t at = 0; (at = info.find(prefix, at)) != std::string::npos;) info.erase(at, prefix.size());
    NumaNode node;
    node.id = static_cast<uint32_t>(*id);
    node.total = field(info, "MemTotal:").value_or(0) * 1024;
    node.free = field(info, "MemFree:").value_or(0) * 1024;
    node.has_cpus = !trimmed(text_of(folder + "/" + name + "/cpulist")).empty();
    nodes.push_back(node);
  }
  std::sort(nodes.begin(), nodes.end(), [](const NumaNode& a, const NumaNode& b) { return a.id < b.id; });
  return nodes;
}

std::optional<uint64_t> pcie_bandwidth_of(const std::string& root, uint64_t pci) {
  const std::string folder = pci_folder(root, pci);
  if (folder.empty() || !is_folder(folder)) return {};
  // The folder is a link into a tree in which every bridge on the way holds what is behind it.
  std::error_code error;
  std::filesystem::path at = std::filesystem::canonical(folder, error);
  if (error) return {};
  double least = 0;
  for (; at.has_relative_path() && !at.filename().string().starts_with("pci"); at = at.parent_path()) {
    const double bandwidth = link_bandwidth(at.string());
    if (bandwidth > 0 && (least == 0 || bandwidth < least)) least = bandwidth;
  }
  if (least == 0) return {};
  return static_cast<uint64_t>(least);
}

std::optional<CarveOut> carve_out_of(const std::string& root, uint64_t pci) {
  const std::string folder = pci_folder(root, pci);
  if (folder.empty()) return {};
  const auto total = number(text_of(folder + "/mem_info_vram_total"));  // amdgpu
  if (!total || *total == 0) return {};
  return CarveOut{*total, number(text_of(folder + "/mem_info_vram_used")).value_or(0)};
}

std::optional<Pressure> memory_pressure_of(const std::string& root) {
  const std::string text = text_of(root + "/proc/pressure/memory");
  if (text.empty()) return {};
  return Pressure{pressure_of(text, "some "), pressure_of(text, "full ")};
}

std::vector<NumaNode> numa_nodes() { return numa_nodes_of(""); }
std::optional<uint64_t> pcie_bandwidth(uint64_t pci) { return pcie_bandwidth_of("", pci); }
std::optional<CarveOut> carve_out(uint64_t pci) { return carve_out_of("", pci); }
std::optional<Pressure> memory_pressure() { return memory_pressure_of(""); }

}  // namespace brim::os
