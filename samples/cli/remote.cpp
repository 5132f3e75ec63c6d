#include "remote.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <random>
#include <regex>

#include "options.hpp"
#include "words.hpp"

#if defined(BRIM_CLI_CURL)
#include <curl/curl.h>
#endif

namespace cli {
namespace {

constexpr uint64_t kFirst = 1 << 20, kMost = 256 << 20;  // of a header; large vocabularies take about 15 MB

#if defined(BRIM_CLI_CURL)

// What one range request brings.
struct Answer {
  std::string body;
  uint64_t wanted = 0;
  uint64_t total = 0;  // of the whole file, where the server says so
};

size_t take_body(const char* data, size_t, size_t bytes, void* user) {
  auto& answer = *static_cast<Answer*>(user);
  const size_t room = answer.wanted - answer.body.size();
  answer.body.append(data, std::min(bytes, room));
  return bytes <= room ? bytes : 0;  // a server that knows no ranges sends everything: enough is enough
}

size_t take_header(const char* data, size_t, size_t bytes, void* user) {
  static const std::regex range("content-range: bytes [0-9]+-[0-9]+/([0-9]+)\\s*", std::regex::icase);
  std::cmatch found;
  if (std::regex_match(data, data + bytes, found, range)) static_cast<Answer*>(user)->total = std::stoull(found[1]);
  return bytes;
}

Answer request(const std::string& url, uint64_t first, uint64_t bytes) {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(ready ? curl_easy_init() : nullptr,
                                                                 &curl_easy_cleanup);
  if (!curl) throw HostError(fmt::format("{}: libcurl does not start", url));
  Answer answer;
  answer.wanted = bytes;
  char words[CURL_ERROR_SIZE] = "";
  const std::string range = fmt::format("{}-{}", first, first + bytes - 1);
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(curl.get(), option, value); };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_MAXREDIRS, 10L);
  set(CURLOPT_CONNECTTIMEOUT, 20L);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, 30L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_RANGE, range.c_str());
  set(CURLOPT_USERAGENT, "brim");
  set(CURLOPT_WRITEFUNCTION, &take_body);
  set(CURLOPT_WRITEDATA, &answer);
  set(CURLOPT_HEADERFUNCTION, &take_header);
  set(CURLOPT_HEADERDATA, &answer);
  set(CURLOPT_ERRORBUFFER, &words[0]);
  const CURLcode result = curl_easy_perform(curl.get());
  long code = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &code);
  if (code == 416) return {};  // nothing lies there
  if (code >= 400) {
    throw HostError(fmt::format("{}: the server answered {}; check the address{}", url, code,
                                code == 401 || code == 403 ? " and whether the file is open to everybody" : ""));
  }
  const bool enough = result == CURLE_WRITE_ERROR && answer.body.size() == answer.wanted;
  if (result != CURLE_OK && !enough) {
    throw HostError(fmt::format("{}: {}", url, words[0] ? words : curl_easy_strerror(result)));
  }
  if (code == 200 && first > 0) {
    throw HostError(
        fmt::format("{}: the server sends whole files only (no ranges); fetch the file and plan from it", url));
  }
  return answer;
}

#endif

// The addresses of all parts of a model of which one is given.
std::vector<std::string> parts_of(std::string url) {
  // The page of a file at Hugging Face, in place of the file.
  static const std::regex page("^(https://huggingface\\.co/[^/]+/[^/]+)/blob/");
  url = std::regex_replace(url, page, "$1/resolve/");
  static const std::regex split("^(.*)-([0-9]{5})-of-([0-9]{5})(\\.gguf.*)$");
  std::smatch found;
  if (!std::regex_match(url, found, split)) return {url};
  std::vector<std::string> all;
  for (unsigned long i = 1; i <= std::stoul(found[3]); ++i) {
    all.push_back(fmt::format("{}-{:05}-of-{}{}", found[1].str(), i, found[3].str(), found[4].str()));
  }
  return all;
}

}  // namespace

bool is_url(const std::string& model) { return model.starts_with("http://") || model.starts_with("https://"); }

RemoteHeader::RemoteHeader(const std::string& url) {
#if !defined(BRIM_CLI_CURL)
  throw UsageError(
      fmt::format("this build has no libcurl; fetch the first MB by yourself: curl -L -r 0-20000000 -o "
                  "head.gguf '{}' and plan from header:head.gguf",
                  url));
#endif
  std::random_device random;
  folder_ = std::filesystem::temp_directory_path() / fmt::format("brim-{:08x}{:08x}", random(), random());
  std::filesystem::create_directory(folder_);
  for (std::string& part : parts_of(url)) {
    const std::string name = part.substr(0, part.find_first_of("?#"));
    parts_.push_back({std::move(part), folder_ / name.substr(name.rfind('/') + 1)});
  }
}

RemoteHeader::~RemoteHeader() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

brim::Model RemoteHeader::open(const brim::Runtime& runtime) {
  for (uint64_t bytes = kFirst;; bytes *= 2) {
    const bool more = grow(bytes);
    try {
      return brim::Model(runtime, "header:" + parts_.front().path.string());
    } catch (const brim::Failure& failure) {
      // A header that is cut short reads like a damaged one.
      if (failure.code() != BRIM_DATA_CORRUPT || !more || bytes >= kMost) throw;
    }
  }
}

bool RemoteHeader::grow([[maybe_unused]] uint64_t bytes) {
  bool more = false;
#if defined(BRIM_CLI_CURL)
  for (Part& part : parts_) {
    if (part.bytes >= bytes || (part.total && part.bytes >= part.total)) continue;
    const Answer answer = request(part.url, part.bytes, bytes - part.bytes);
    if (answer.total) part.total = answer.total;
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(part.path.c_str(), "ab"), &std::fclose);
    if (!file || std::fwrite(answer.body.data(), 1, answer.body.size(), file.get()) != answer.body.size()) {
      throw HostError(fmt::format("{}: cannot write; is there room for some MB?", part.path.string()));
    }
    part.bytes += answer.body.size();
    more = more || !answer.body.empty();
  }
#endif
  return more;
}

std::string RemoteHeader::fetched() const {
  uint64_t bytes = 0, total = 0;
  for (const Part& part : parts_) bytes += part.bytes, total += part.total;
  return total ? fmt::format("{} of {} fetched", bytes_text(bytes), bytes_text(total))
               : fmt::format("{} fetched", bytes_text(bytes));
}

}  // namespace cli
