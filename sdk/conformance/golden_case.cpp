#include "golden_case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "check.hpp"

namespace check {

namespace {

static_assert(std::endian::native == std::endian::little, "output files are little-endian");

using Json = nlohmann::json;

// A number without a fraction that fits; the library would convert any other, out of its range too.
template <class T>
T whole(const Json& json) {
  if (json.is_number_unsigned() && std::in_range<T>(json.get<uint64_t>())) return json.get<T>();
  if (json.is_number_integer() && !json.is_number_unsigned() && std::in_range<T>(json.get<int64_t>())) {
    return json.get<T>();
  }
  throw BadInput(fmt::format("a whole number from {} to {} was expected, found {}", std::numeric_limits<T>::min(),
                             std::numeric_limits<T>::max(), json.dump().substr(0, 40)));
}

GoldenBatch read_batch(const Json& json) {
  GoldenBatch out;
  out.op = json.at("op").get<std::string>();
  const auto& tokens = json.at("tokens");
  const auto& positions = json.at("pos");
  const auto& sequences = json.at("seq");
  const auto& outs = json.at("out");
  if (positions.size() != tokens.size() || sequences.size() != tokens.size() || outs.size() != tokens.size()) {
    throw BadInput("a batch has lists of different lengths");
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    out.rows.push_back({whole<int32_t>(tokens[i]), whole<int32_t>(positions[i]), whole<uint32_t>(sequences[i]),
                        whole<int>(outs[i]) != 0});
  }
  return out;
}

GoldenLimits read_limits(const Json& json) {
  GoldenLimits out;
  const auto read = [&](const char* key, std::optional<double>& into) {
    if (const auto found = json.find(key); found != json.end()) into = found->get<double>();
  };
  read("max_abs", out.max_abs);
  read("rel_rms", out.rel_rms);
  read("kl_max", out.kl_max);
  if (const auto found = json.find("runs"); found != json.end()) out.runs = found->get<std::map<std::string, double>>();
  return out;
}

}  // namespace

GoldenCase read_case(const std::string& folder) {
  const std::filesystem::path path = std::filesystem::path(folder) / "case.json";
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw BadInput(fmt::format("{}: cannot open: {}", path.string(), std::strerror(errno)));
  try {
    const Json json = Json::parse(stream);
    GoldenCase out;
    out.folder = folder;
    out.name = json.at("case").get<std::string>();
    out.kind = json.at("kind").get<std::string>();
    out.model = (std::filesystem::path(folder) / json.at("model").get<std::string>()).string();
    out.rows = whole<size_t>(json.at("rows"));
    out.width = whole<size_t>(json.at("width"));
    size_t next = 0;
    for (const Json& run : json.at("runs")) {
      GoldenRun& one = out.runs.emplace_back();
      one.name = run.at("name").get<std::string>();
      one.kind = run.at("kind").get<std::string>();
      one.first_row = whole<size_t>(run.at("first_row"));
      one.rows = whole<size_t>(run.at("rows"));
      for (const Json& batch : run.at("batches")) one.batches.push_back(read_batch(batch));
      if (one.first_row != next)
        throw BadInput(fmt::format("run {} begins at row {}, expected {}", one.name, one.first_row, next));
      if (one.rows > out.rows - next)
        throw BadInput(fmt::format("run {} has {} rows from {} on, the case {}", one.name, one.rows, next, out.rows));
      next += one.rows;
    }
    if (next != out.rows) throw BadInput(fmt::format("the runs have {} rows, the case {}", next, out.rows));
    if (out.width == 0) throw BadInput("width is 0");
    if (const auto limits = json.find("limits"); limits != json.end()) {
      for (const auto& [name, value] : limits->items()) out.limits[name] = read_limits(value);
    }
    return out;
  } catch (const Json::exception& error) {
    throw BadInput(fmt::format("{}: {}", path.string(), error.what()));
  } catch (const BadInput& error) {
    throw BadInput(fmt::format("{}: {}", path.string(), error.what()));
  }
}

std::optional<std::vector<float>> read_outputs(const GoldenCase& golden, const std::string& file) {
  const auto path = std::filesystem::path(golden.folder) / file;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return std::nullopt;
  stream.seekg(0, std::ios::end);
  const auto bytes = static_cast<uint64_t>(std::max<std::streamoff>(stream.tellg(), 0));
  // Divided before it is multiplied: the product of what a case says may be beyond any number.
  if (golden.rows > bytes / sizeof(float) / golden.width || golden.rows * golden.width * sizeof(float) != bytes) {
    throw BadInput(fmt::format("{}: expected {} rows of {} float32 values, found {} bytes", path.string(), golden.rows,
                               golden.width, bytes));
  }
  std::vector<float> out(golden.rows * golden.width);
  stream.seekg(0);
  if (!stream.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(bytes))) {
    throw BadInput(fmt::format("{}: cannot read: {}", path.string(), std::strerror(errno)));
  }
  return out;
}

void write_outputs(const std::string& path, const std::vector<float>& values) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wb"), &std::fclose);
  if (!file) throw BadInput(fmt::format("{}: cannot create: {}", path, std::strerror(errno)));
  const bool written = std::fwrite(values.data(), sizeof(float), values.size(), file.get()) == values.size();
  if (!written || std::fclose(file.release()) != 0) {
    throw BadInput(fmt::format("{}: cannot write: {}", path, std::strerror(errno)));
  }
}

}  // namespace check
