// Speeds seen on this machine before, in a file that the host names: how fast each device, with each driver, decoded
// each weight format. Every generation of some length moves its entry; plans made afterwards predict from it. The file
// is text, a line an entry; a line that is none is passed over, so a damaged file costs what it taught and no more.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace brim::negotiator {

class Learned {
 public:
  struct Key {
    std::string device, driver, format;  // "NVIDIA GB10", "CUDA 13.0; brim.cuda 0.1.0", "Q4_K_M"
    bool operator==(const Key&) const = default;
  };

  Learned() = default;
  // Reads the file, which need not exist yet. Throws what reading throws.
  explicit Learned(std::string path);

  // Bytes/s of weights in decoding; 0: nothing was seen. [any]
  double bandwidth(const Key& key) const;
  // Moves the entry by a share of what was seen, and writes the file. A first observation counts whole; later ones move
  // an entry by half at most, so that one disturbed run does little. Without a file it is remembered for this runtime.
  // [any]
  void observe(const Key& key, double bandwidth);

 private:
  struct Entry {
    Key key;
    double bandwidth;
    unsigned long long count;
  };
  void write() const;

  std::string path_;
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace brim::negotiator
