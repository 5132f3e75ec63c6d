#include <algorithm>
#include <base/error.hpp>
#include <charconv>
#include <map>
#include <negotiator/ledger.hpp>

namespace brim::negotiator {
namespace {

constexpr std::string_view kSuffix = ".promises";
constexpr uint64_t kMostBytes = 1 << 16;  // of another process's file; a longer one is none of ours

// "POOL POOL BYTES" lines, all decimal.
std::string text_of(const std::vector<Entry>& entries) {
  std::string text;
  for (const Entry& e : entries) text += fmt::format("{} {} {}\n", e.pool[0], e.pool[1], e.bytes);
  return text;
}

uint64_t bytes_in(std::string_view text, const LedgerPool& pool) {
  uint64_t sum = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    uint64_t numbers[3] = {};
    bool whole = true;
    for (uint64_t& n : numbers) {
      const auto [at, code] = std::from_chars(line.data(), line.data() + line.size(), n);
      whole = whole && code == std::errc();
      line.remove_prefix(static_cast<size_t>(at - line.data()));
      if (!line.empty()) line.remove_prefix(1);
    }
    if (whole && numbers[0] == pool[0] && numbers[1] == pool[1]) sum += numbers[2];
  }
  return sum;
}

}  // namespace

Ledger::Promise& Ledger::Promise::operator=(Promise&& other) noexcept {
  if (this == &other) return *this;
  if (ledger_) ledger_->set(number_, {});
  ledger_ = std::move(other.ledger_);
  number_ = other.number_;
  return *this;
}

Ledger::Promise::~Promise() {
  if (ledger_) ledger_->set(number_, {});
}

void Ledger::Promise::settle(std::vector<Entry> untouched) noexcept {
  if (ledger_) ledger_->set(number_, std::move(untouched));
}

std::shared_ptr<Ledger> Ledger::of_folder(const std::string& folder) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Ledger>> all;
  const std::lock_guard lock(mutex);
  auto& known = all[folder];
  auto ledger = known.lock();
  if (!ledger) known = ledger = std::make_shared<Ledger>(folder);
  return ledger;
}

Ledger::Ledger(std::string folder) : folder_(std::move(folder)) {
  if (folder_.empty()) return;
  const Locked locked(*this);
  for (uint32_t i = 0;; ++i) {
    own_path_ = fmt::format("{}/{}{}", folder_, i, kSuffix);
    const os::Handle file = os::open_or_create(own_path_);
    if (os::try_lock(file)) {
      own_file_ = file;
      break;
    }
    os::close_handle(file);
  }
  write_own();
}

Ledger::~Ledger() {
  if (own_file_ == os::kNoHandle) return;
  os::remove_quietly(own_path_);
  os::close_handle(own_file_);
}

Ledger::Locked::Locked(Ledger& ledger) : ledger(ledger), mutex(ledger.mutex_) {
  if (ledger.folder_.empty()) return;
  const std::string path = ledger.folder_ + "/lock";
  folder = os::open_or_create(path);
  try {
    os::lock(folder, path);
  } catch (...) {
    os::close_handle(folder);
    throw;
  }
}

Ledger::Locked::~Locked() {
  if (folder != os::kNoHandle) os::close_handle(folder);
}

uint64_t Ledger::promised(const LedgerPool& pool) {
  const Locked locked(*this);
  return promised_locked(pool);
}

uint64_t Ledger::promised_locked(const LedgerPool& pool) {
  uint64_t sum = 0;
  for (const Numbered& n : own_) {
    for (const Entry& e : n.entries) sum += e.pool == pool ? e.bytes : 0;
  }
  if (folder_.empty()) return sum;
  for (const std::string& name : os::names_in(folder_)) {
    const std::string path = folder_ + "/" + name;
    if (!std::string_view(name).ends_with(kSuffix) || path == own_path_) continue;
    const os::Handle file = os::open_or_create(path);
    const bool left = os::try_lock(file);
    std::string text;
    if (!left) {
      const uint64_t bytes = os::state_of(file, path).bytes;
      text.resize(static_cast<size_t>(bytes <= kMostBytes ? bytes : 0));
      try {
        os::read_at(file, 0, text.data(), text.size(), path);
      } catch (const Error&) {
        text.clear();
      }
    }
    if (left) os::remove_quietly(path);
    os::close_handle(file);
    sum += bytes_in(text, pool);
  }
  return sum;
}

void Ledger::check(const Entry& wanted, uint64_t room, uint64_t promised) {
  const uint64_t left = room > promised ? room - promised : 0;
  if (wanted.bytes <= left) return;
  throw Error(BRIM_OUT_OF_MEMORY,
              fmt::format("loading wants {} bytes; {} can be used now, and {} of them are promised to models that are "
                          "loaded or being loaded, in this and other processes. Plan again, unload a model, or wait",
                          wanted.bytes, room, promised),
              {0, wanted.bytes, left, promised});
}

Ledger::Promise Ledger::add(std::vector<Entry> entries) {
  Promise promise;
  own_.push_back({next_, std::move(entries)});
  try {
    write_own();
  } catch (...) {
    own_.pop_back();
    throw;
  }
  promise.ledger_ = shared_from_this();
  promise.number_ = next_++;
  return promise;
}

void Ledger::set(uint64_t number, std::vector<Entry> entries) noexcept {
  try {
    const Locked locked(*this);
    const auto found = std::find_if(own_.begin(), own_.end(), [&](const Numbered& n) { return n.number == number; });
    if (found == own_.end()) return;
    if (entries.empty()) {
      own_.erase(found);
    } else {
      found->entries = std::move(entries);
    }
    write_own();
  } catch (...) {
    // What cannot be taken back stays promised until the process ends.
  }
}

void Ledger::write_own() {
  if (own_file_ == os::kNoHandle) return;
  std::vector<Entry> all;
  for (const Numbered& n : own_) all.insert(all.end(), n.entries.begin(), n.entries.end());
  const std::string text = text_of(all);
  os::rewrite(own_file_, text.data(), text.size(), own_path_);
}

}  // namespace brim::negotiator
