#include "range_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>

namespace brim::test {

RangeServer::RangeServer(std::string file, Kind kind) : file_(std::move(file)), kind_(kind) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(at);
  auto* address = reinterpret_cast<sockaddr*>(&at);
  if (socket_ < 0 || ::bind(socket_, address, bytes) != 0 || ::listen(socket_, 8) != 0 ||
      ::getsockname(socket_, address, &bytes) != 0) {
    throw std::runtime_error("no socket on this machine");
  }
  port_ = ntohs(at.sin_port);
  thread_ = std::thread([this] { serve(); });
}

RangeServer::~RangeServer() {
  ::shutdown(socket_, SHUT_RDWR);
  thread_.join();
  ::close(socket_);
}

std::string RangeServer::url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/model.gguf"; }

std::vector<std::pair<uint64_t, uint64_t>> RangeServer::asked() { return asked_; }

void RangeServer::serve() {
  for (;;) {
    const int client = ::accept(socket_, nullptr, nullptr);
    if (client < 0) return;
    std::string request(8192, 0);
    const ssize_t got = ::recv(client, request.data(), request.size(), 0);
    request.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    const std::string out = answer(request);
    for (size_t sent = 0; sent < out.size();) {
      const ssize_t n = ::send(client, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<size_t>(n);
    }
    ::close(client);
  }
}

std::string RangeServer::answer(const std::string& request) {
  const auto reply = [](const std::string& status, const std::string& headers, const std::string& body) {
    return "HTTP/1.1 " + status + "\r\n" + headers + "Content-Length: " + std::to_string(body.size()) +
           "\r\nConnection: close\r\n\r\n" + body;
  };
  if (kind_ == Kind::kGone) return reply("404 Not Found", "", "no such model");
  if (kind_ == Kind::kMoved && request.starts_with("GET /model.gguf")) {
    return reply("302 Found", "Location: /elsewhere\r\n", "");
  }
  unsigned long long first = 0, last = 0;
  const size_t range = request.find("Range: bytes=");
  if (kind_ == Kind::kWhole || range == std::string::npos ||
      std::sscanf(request.c_str() + range, "Range: bytes=%llu-%llu", &first, &last) != 2) {
    return reply("200 OK", "", file_);
  }
  if (first >= file_.size()) return reply("416 Range Not Satisfiable", "", "");
  last = std::min<unsigned long long>(last, file_.size() - 1);
  asked_.emplace_back(first, last);
  return reply("206 Partial Content",
               "Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" +
                   std::to_string(file_.size()) + "\r\n",
               file_.substr(first, last - first + 1));
}

}  // namespace brim::test
