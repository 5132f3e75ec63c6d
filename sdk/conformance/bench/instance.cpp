#include "instance.hpp"

#include <algorithm>
#include <atomic>
#include <filesystem>

#include "../os/os.hpp"

namespace check {
namespace {

constexpr std::byte kPoison{0xa5};
std::atomic<bool> counts_in_calls{false};

// The length of the well-formed UTF-8 at the beginning.
size_t utf8_prefix(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto c = static_cast<unsigned char>(text[i]);
    const size_t n = c < 0x80                ? 1
                     : c >= 0xc2 && c < 0xe0 ? 2
                     : c >= 0xe0 && c < 0xf0 ? 3
                     : c >= 0xf0 && c < 0xf5 ? 4
                                             : 0;
    if (n == 0 || i + n > text.size()) return i;
    for (size_t j = 1; j < n; ++j) {
      if ((static_cast<unsigned char>(text[i + j]) & 0xc0) != 0x80) return i;
    }
    i += n;
  }
  return i;
}

}  // namespace

brim_plugin_query_fn open_query(Trial& trial) {
  std::string error;
  os::set_doing("opening the library (its constructors)");
  void* library = os::open_library(trial.target().library, &error);
  end_call();
  if (library == nullptr) {
    trial.fail("the library does not open: {}", error);
    trial.stop();
  }
  void* symbol = os::find_symbol(library, BRIM_PLUGIN_QUERY_SYMBOL);
  if (symbol == nullptr) {
    trial.fail("the library exports no {}", BRIM_PLUGIN_QUERY_SYMBOL);
    trial.stop();
  }
  return reinterpret_cast<brim_plugin_query_fn>(symbol);
}

const brim_plugin_header& open_header(Trial& trial) {
  const brim_plugin_query_fn query = open_query(trial);
  begin_call("brim_plugin_query");
  const brim_plugin_header* header = query(BRIM_ABI_MAJOR);
  end_call();
  if (header == nullptr) {
    trial.fail("brim_plugin_query answers NULL for the major {} of this host", BRIM_ABI_MAJOR);
    trial.stop();
  }
  const bool usable = header->magic == BRIM_PLUGIN_MAGIC && header->major == BRIM_ABI_MAJOR &&
                      BRIM_HAS(header, brim_plugin_header, get_interface) && header->create != nullptr &&
                      header->destroy != nullptr && header->get_interface != nullptr;
  if (!usable) {
    trial.fail("the header cannot be used: magic {:#x}, {} bytes, major {}, create {}, destroy {}, get_interface {}",
               header->magic, header->struct_size, header->major,
               BRIM_HAS(header, brim_plugin_header, create) && header->create ? "there" : "missing",
               BRIM_HAS(header, brim_plugin_header, destroy) && header->destroy ? "there" : "missing",
               BRIM_HAS(header, brim_plugin_header, get_interface) && header->get_interface ? "there" : "missing");
    trial.stop();
  }
  return *header;
}

std::string Answer::text() const {
  if (status == BRIM_OK) return "ok";
  return fmt::format("{}: {}", brim_status_name(status), static_cast<const char*>(error.message));
}

ErrorProbe::ErrorProbe(uint32_t bytes) : bytes_(bytes), memory_(bytes, 8) {
  if (bytes == 0) return;
  std::fill(memory_.data(), memory_.data() + bytes, kPoison);
  std::memcpy(memory_.data(), &bytes, sizeof(bytes));
}

Answer ErrorProbe::check(Trial& trial, const char* entry, brim_status status) const {
  Answer answer;
  answer.status = status;
  if (bytes_ == 0) return answer;
  std::memcpy(static_cast<void*>(&answer.error), memory_.data(), std::min<size_t>(bytes_, sizeof(brim_error)));
  answer.error.message[sizeof(answer.error.message) - 1] = 0;
  uint32_t size = 0;
  std::memcpy(&size, memory_.data(), sizeof(size));
  trial.expect(size == bytes_, "{}: brim_error.struct_size was changed from {} to {}", entry, bytes_, size);
  if (status == BRIM_OK) {
    const bool untouched =
        std::all_of(memory_.data() + 4, memory_.data() + bytes_, [](std::byte b) { return b == kPoison; });
    trial.expect(untouched, "{}: brim_error was written though the call succeeded", entry);
    answer.error = {};
    return answer;
  }
  trial.expect(status <= BRIM_CONTEXT_FULL, "{}: the status {} is none of BRIM_*", entry, status);
  trial.expect(answer.error.code == status, "{}: returned {} but brim_error.code is {}", entry,
               brim_status_name(status), brim_status_name(answer.error.code));
  const size_t at = offsetof(brim_error, message);
  if (bytes_ <= at) return answer;
  const char* message = memory_.as<char>() + at;
  const size_t room = std::min<size_t>(bytes_ - at, sizeof(answer.error.message));
  const size_t length = strnlen(message, room);
  if (!trial.expect(length < room, "{}: brim_error.message is not terminated within its {} bytes", entry, room)) {
    answer.error.message[0] = 0;
    return answer;
  }
  trial.expect(length > 0, "{}: failed with {} and no words in brim_error.message", entry, brim_status_name(status));
  trial.expect(utf8_prefix({message, length}) == length, "{}: brim_error.message is no UTF-8: '{}'", entry,
               std::string(message, utf8_prefix({message, length})));
  if (bytes_ >= BRIM_SIZE_THROUGH(brim_error, domain)) {
    trial.expect(answer.error.domain <= BRIM_DOMAIN_DRIVER, "{}: brim_error.domain {} is none of BRIM_DOMAIN_*", entry,
                 answer.error.domain);
  }
  // Memory that was made to fail has no figures where it is not the host's.
  if (status == BRIM_OUT_OF_MEMORY && !trial.expects_refusals() && bytes_ >= BRIM_SIZE_THROUGH(brim_error, detail)) {
    trial.expect(answer.error.detail[1] != 0,
                 "{}: out of memory, but brim_error.detail does not hold {{heap, bytes requested, bytes available}}",
                 entry);
  }
  return answer;
}

void begin_call(const char* entry) {
  os::set_doing(entry);
  if (counts_in_calls) os::resume_counting();
}
void end_call() {
  if (counts_in_calls) os::stop_counting();
  os::set_doing("the checker itself");
}
void count_in_calls(bool yes) { counts_in_calls = yes; }

void must(Trial& trial, const char* entry, const Answer& answer) {
  if (answer.ok()) return;
  if (trial.expects_refusals()) throw Refused{entry, answer.status, answer.text()};
  trial.fail("{}: expected ok, found {}", entry, answer.text());
  trial.stop();
}

SettingList::SettingList(const Settings& settings, uint32_t stride)
    : n_(static_cast<uint32_t>(settings.size())), stride_(stride) {
  const auto text = [this](const std::string& from) {
    const Fenced& own = texts_.emplace_back(from.data(), from.size(), 1);
    own.seal();
    return brim_str{own.as<char>(), from.size()};
  };
  std::vector<brim_setting> plain;
  for (const auto& [key, value] : settings) plain.push_back({text(key), text(value)});
  array_ = std::make_unique<Fenced>(fenced_array(plain, stride));
  array_->seal();
}

brim_plugin* Instance::create(Trial& trial, Host& host, const Settings& settings, bool padded, Answer* answer) {
  const brim_plugin_header& header = open_header(trial);
  Settings all = trial.target().settings;
  all.insert(all.end(), settings.begin(), settings.end());
  const SettingList list(all, sizeof(brim_setting) + (padded ? 24 : 0));
  const std::string directory = std::filesystem::path(trial.target().library).parent_path().string();
  brim_create_info info{};
  info.n_settings = list.size();
  info.settings = list.data();
  info.setting_stride = list.stride();
  info.directory = str(directory);
  const Fenced sent = fenced_struct(info, sizeof(info) + (padded ? 40 : 0));
  sent.seal();
  brim_plugin* plugin = nullptr;
  *answer = call(trial, "create", [&](brim_error* error) {
    return header.create(host.api(), host.handle(), sent.as<brim_create_info>(), &plugin, error);
  });
  if (answer->ok() && plugin == nullptr) {
    trial.fail("create: returned ok and no instance");
    trial.stop();
  }
  return answer->ok() ? plugin : nullptr;
}

Instance::Instance(Trial& trial, Host& host, const Settings& settings, bool padded)
    : trial_(trial), host_(host), header_(open_header(trial)) {
  Answer answer;
  plugin_ = create(trial, host, settings, padded, &answer);
  must(trial, "create", answer);
}

Instance::~Instance() {
  try {
    destroy();
  } catch (const Stopped&) {
  }
}

void Instance::destroy() {
  if (plugin_ == nullptr) return;
  begin_call("destroy");
  header_.destroy(std::exchange(plugin_, nullptr));
  end_call();
  const uint64_t blocks = host_.live_blocks(), bytes = host_.live_bytes();
  trial_.expect(blocks == 0, "leak: {} blocks of host memory, {} bytes, are left when destroy has returned", blocks,
                bytes);
  report_sins(trial_, host_);
}

const void* Instance::interface(const char* id) const {
  begin_call("get_interface");
  const void* found = header_.get_interface(plugin_, str(id));
  end_call();
  return found;
}

void report_sins(Trial& trial, Host& host) {
  for (const std::string& sin : host.sins()) trial.fail("{}", sin);
}

}  // namespace check
