// find_device.hpp - which device a person means: by its number in the runtime's report, by the id of its backend (with
// or without "brim." in front) where that has one device, or by a part of its name where that fits one, in this order.
// Letters count the same in either case. It reads no report: the host lists the devices as it has them.
#ifndef BRIM_FIND_DEVICE_HPP
#define BRIM_FIND_DEVICE_HPP

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace brim {
inline namespace host {

struct ListedDevice {
  std::string name, plugin;  // "NVIDIA H200", "brim.cuda"
};

// The number of the device, or why none can be meant: a sentence that lists what there is.
inline std::optional<uint32_t> find_device(const std::vector<ListedDevice>& devices, std::string_view wanted,
                                           std::string& why) {
  const auto lower = [](std::string_view text) {
    std::string out(text);
    for (char& c : out)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
  };
  const std::string word = lower(wanted);
  std::vector<uint32_t> by_id, by_name;
  for (uint32_t i = 0; i < devices.size(); ++i) {
    const std::string id = lower(devices[i].plugin);
    if (wanted == std::to_string(i)) return i;
    if (!word.empty() && (id == word || id == "brim." + word)) by_id.push_back(i);
    if (!word.empty() && lower(devices[i].name).find(word) != std::string::npos) by_name.push_back(i);
  }
  const std::vector<uint32_t>& found = by_id.empty() ? by_name : by_id;
  if (found.size() == 1) return found.front();
  const auto listed = [&](auto&& takes) {
    std::string out;
    for (uint32_t i = 0; i < devices.size(); ++i)
      if (takes(i))
        out += (out.empty() ? "" : ", ") + std::to_string(i) + ": " + devices[i].name + " (" + devices[i].plugin + ')';
    return out;
  };
  why = found.empty() ? "no device of that number, backend or name; there are: " + listed([](uint32_t) { return true; })
                      : "several devices fit, say which by its number: " +
                            listed([&](uint32_t i) { return std::find(found.begin(), found.end(), i) != found.end(); });
  return std::nullopt;
}

}  // namespace host
}  // namespace brim

#endif
