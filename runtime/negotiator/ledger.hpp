// Who has been promised what of each memory. A load promises its bytes before it allocates the first of them, so that
// two loads never count on the same memory: within a process by one ledger for all runtimes, between processes through
// a folder that the host names, in which every process keeps a file of its promises, locked as long as it lives. A file
// that nobody locks is what a process left that ended, and is removed.
//
// Readings of free memory fall as promised memory is used. What is used and seen by readings is no promise any more:
// settle() says how much of a promise has not been touched yet. Memory that a model reserves and touches late (KV)
// stays promised until the model goes; once it is touched, readings and promise both count it. That errs to the safe
// side.
#pragma once

#include <array>
#include <base/os/lock.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace brim::negotiator {

using LedgerPool = std::array<uint64_t, 2>;  // a topology's PoolId

struct Entry {
  LedgerPool pool{};
  uint64_t bytes = 0;
};

class Ledger : public std::enable_shared_from_this<Ledger> {
 public:
  // Bytes promised for as long as it lives. Move-only.
  class Promise {
   public:
    Promise() = default;
    Promise(Promise&&) = default;
    Promise& operator=(Promise&& other) noexcept;
    ~Promise();
    // The same, smaller: what readings do not show yet.
    void settle(std::vector<Entry> untouched) noexcept;

   private:
    friend class Ledger;
    std::shared_ptr<Ledger> ledger_;
    uint64_t number_ = 0;
  };

  // The one ledger of this process for that folder; empty: for this process alone. Throws what reading and making files
  // in the folder throws.
  static std::shared_ptr<Ledger> of_folder(const std::string& folder);
  // `folder` as above, apart from the process's: a second process, for tests.
  explicit Ledger(std::string folder);
  ~Ledger();

  // By every load that lives, of all processes.
  uint64_t promised(const LedgerPool& pool);

  // `room(pool)`: bytes that can be used if nothing were promised, read anew while nobody else can promise. Throws
  // OUT_OF_MEMORY, having changed nothing.
  template <class Room>
  Promise promise(std::vector<Entry> wanted, Room&& room) {
    const Locked locked(*this);
    for (const Entry& e : wanted) check(e, room(e.pool), promised_locked(e.pool));
    return add(std::move(wanted));
  }

 private:
  // Of this process and, by the folder's lock, of all.
  struct Locked {
    explicit Locked(Ledger& ledger);
    ~Locked();
    Ledger& ledger;
    std::unique_lock<std::mutex> mutex;
    os::Handle folder = os::kNoHandle;
  };
  struct Numbered {
    uint64_t number;
    std::vector<Entry> entries;
  };

  static void check(const Entry& wanted, uint64_t room, uint64_t promised);
  uint64_t promised_locked(const LedgerPool& pool);
  Promise add(std::vector<Entry> entries);
  void set(uint64_t number, std::vector<Entry> entries) noexcept;
  void write_own();

  const std::string folder_;
  std::mutex mutex_;
  std::vector<Numbered> own_;
  uint64_t next_ = 1;
  std::string own_path_;
  os::Handle own_file_ = os::kNoHandle;
};

}  // namespace brim::negotiator
