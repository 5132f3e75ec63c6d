// A plugin's library and an instance of it, made through plugin.h alone.
#pragma once

#include <brim/plugin.h>

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "../driver/trial.hpp"
#include "fenced.hpp"
#include "host.hpp"

namespace check {

inline brim_str str(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view view(brim_str text) {
  return text.ptr == nullptr ? std::string_view() : std::string_view(text.ptr, text.len);
}

// The library's query function. Ends the test where the library does not open or exports none.
brim_plugin_query_fn open_query(Trial& trial);
// The header for this ABI's major. Ends the test where a host could not go on with it.
const brim_plugin_header& open_header(Trial& trial);

using Settings = std::vector<std::pair<std::string, std::string>>;
// As a plugin meets them: sealed, each text against an untouchable page, no zero byte behind it.
class SettingList {
 public:
  SettingList(const Settings& settings, uint32_t stride);
  const void* data() const { return n_ == 0 ? nullptr : array_->data(); }
  uint32_t size() const { return n_; }
  uint32_t stride() const { return stride_; }

 private:
  std::deque<Fenced> texts_;
  std::unique_ptr<Fenced> array_;
  uint32_t n_, stride_;
};

// What a failed call left in brim_error, checked: code, words, nothing behind struct_size.
struct Answer {
  brim_status status = BRIM_OK;
  brim_error error{};
  bool ok() const { return status == BRIM_OK; }
  std::string text() const;  // "out of memory: ..."
};

// A brim_error full of poison, of an older host's size where that is smaller; 0: the host passes none.
struct ErrorProbe {
  explicit ErrorProbe(uint32_t bytes);
  brim_error* get() const { return bytes_ == 0 ? nullptr : memory_.as<brim_error>(); }
  Answer check(Trial& trial, const char* entry, brim_status status) const;

 private:
  uint32_t bytes_;
  Fenced memory_;
};
// Around every entry of the plugin: `entry` is static text.
void begin_call(const char* entry);
void end_call();
// From now on what entries call of the process's memory functions is counted, and can fail (os::fail_allocation).
void count_in_calls(bool yes);

// Runs one entry of the plugin, fn(brim_error*), and checks what it left in the error. `entry` names it in findings and
// crash reports.
template <class F>
Answer call(Trial& trial, const char* entry, F&& fn, uint32_t error_bytes = sizeof(brim_error)) {
  const ErrorProbe probe(error_bytes);
  begin_call(entry);
  const brim_status status = fn(probe.get());
  end_call();
  return probe.check(trial, entry, status);
}

// Ends the test where the call failed; while failures are made to order, throws Refused.
void must(Trial& trial, const char* entry, const Answer& answer);

// Made by create with the command line's settings and these, freed at the end of its life; what stays behind then is a
// finding.
class Instance {
 public:
  Instance(Trial& trial, Host& host, const Settings& settings = {}, bool padded = true);
  ~Instance();
  Instance(const Instance&) = delete;

  // Null where create failed; `answer` says why. Instance ends the test then; this does not.
  static brim_plugin* create(Trial& trial, Host& host, const Settings& settings, bool padded, Answer* answer);

  brim_plugin* plugin() const { return plugin_; }
  const void* interface(const char* id) const;
  // Frees it now and looks at what stays behind.
  void destroy();

 private:
  Trial& trial_;
  Host& host_;
  const brim_plugin_header& header_;
  brim_plugin* plugin_ = nullptr;
};

// The sins that a host noticed, as findings.
void report_sins(Trial& trial, Host& host);

}  // namespace check
