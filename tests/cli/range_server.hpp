// A web server for one file, on this machine, one request at a time: what a client asks for is remembered.
#pragma once

#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace brim::test {

class RangeServer {
 public:
  enum class Kind {
    kRanges,  // as servers of models do
    kWhole,   // sends all of the file whatever is asked for
    kMoved,   // leads to the file at another address
    kGone,    // 404
  };
  RangeServer(std::string file, Kind kind);
  ~RangeServer();
  RangeServer(const RangeServer&) = delete;
  RangeServer& operator=(const RangeServer&) = delete;

  std::string url() const;  // "http://127.0.0.1:PORT/model.gguf"
  // First and last byte of each request that was answered.
  std::vector<std::pair<uint64_t, uint64_t>> asked();

 private:
  void serve();
  std::string answer(const std::string& request);

  std::string file_;
  Kind kind_;
  int socket_ = -1;
  uint16_t port_ = 0;
  std::vector<std::pair<uint64_t, uint64_t>> asked_;
  std::thread thread_;
};

}  // namespace brim::test
