// Models on web servers: planning needs the header of a file only, the first MB of tens of GB, and asks for it by HTTP
// range requests that double until the header is whole.
#pragma once

#include <brim/brim.hpp>
#include <filesystem>
#include <string>
#include <vector>

namespace cli {

bool is_url(const std::string& model);

class RemoteHeader {
 public:
  // Fetches nothing yet. UsageError where this build has no HTTP.
  explicit RemoteHeader(const std::string& url);
  ~RemoteHeader();
  RemoteHeader(const RemoteHeader&) = delete;
  RemoteHeader& operator=(const RemoteHeader&) = delete;

  // Opens the header, of all parts of a split model. HostError names the URL and what the server answered. The model
  // goes before this.
  brim::Model open(const brim::Runtime& runtime);
  // "4.2 MB of 42.5 GB fetched"
  std::string fetched() const;

 private:
  struct Part {
    std::string url;
    std::filesystem::path path;
    uint64_t bytes = 0;  // here
    uint64_t total = 0;  // there; 0: not known yet
  };

  // Brings every part to at least that length, or to its end. False where nothing came.
  bool grow(uint64_t bytes);

  std::filesystem::path folder_;
  std::vector<Part> parts_;
};

}  // namespace cli
