// The predictor against published measurements it has not seen: with constants of the device from its other models, and
// for a device of which nothing but kind and nominal bandwidth is known. The figures are printed; the limits are those
// that a release has to hold.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <negotiator/plan.hpp>
#include <negotiator/predictor.hpp>
#include <negotiator/work.hpp>
#include <sstream>

#include "machine.hpp"

using namespace brim;
using namespace brim::negotiator;

namespace {

struct Row {
  std::string device, build, shape;
  SpeedKind kind = SpeedKind::kCuda;
  double nominal = 0, depth = 0, speed = 0;
  Work work;
  std::string model() const { return shape.substr(0, shape.find(':')); }
};

SpeedKind kind_of(const std::string& name) {
  return name == "cuda" ? SpeedKind::kCuda : name == "metal" ? SpeedKind::kMetal : SpeedKind::kVulkan;
}

// The rows of a table; `depth` is the sixth column, whatever it means there.
std::vector<Row> read_rows(const std::string& name) {
  const auto here = test::machine();
  std::map<std::string, Work> work;  // by shape, through the real architecture plugins
  std::vector<Row> rows;
  std::ifstream file(BRIM_SOURCE_DIR "/tests/negotiator/" + name);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#' || line.starts_with("device,")) continue;
    std::vector<std::string> cells;
    std::stringstream stream(line);
    for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
    REQUIRE(cells.size() == 8);
    Row row;
    row.device = cells[0];
    row.build = cells[1];
    row.shape = cells[4];
    row.kind = kind_of(cells[2]);
    row.nominal = std::stod(cells[3]) * 1e9;
    row.depth = std::stod(cells[5]);
    row.speed = std::stod(cells[6]);
    if (!work.count(row.shape)) {
      const auto model = open_model(here, row.shape, "");
      for (const ItemWork& item : works_of(*model, 8192, BRIM_DTYPE_F16)) work[row.shape] += item.work;
    }
    row.work = work[row.shape];
    rows.push_back(row);
  }
  return rows;
}

const std::vector<Row>& rows() {
  static const std::vector<Row> all = read_rows("measured.csv");
  return all;
}

double median(std::vector<double> values, double at = 0.5) {
  REQUIRE(!values.empty());
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(at * static_cast<double>(values.size() - 1) + 0.5)];
}

// Errors of rows at an empty context, relative to what was measured.
struct Score {
  std::vector<double> dense, mixture;
  int inside = 0, all = 0;

  void add(const Row& row, const Constants& c) {
    const double predicted = 1 / decode_seconds(c, row.work, row.depth);
    (row.work.mixture ? mixture : dense).push_back(std::abs(predicted / row.speed - 1));
    const Interval i = decode_interval(predicted, c.provenance, row.work.mixture);
    inside += row.speed >= i.low && row.speed <= i.high;
    ++all;
  }
  double covered() const { return static_cast<double>(inside) / all; }
  void print(const char* name) const {
    MESSAGE(
        fmt::format("{}: dense {} rows, median {:.1f} %, p90 {:.1f} %; mixtures {} rows, median {:.1f} %, p90 {:.1f} "
                    "%; the interval holds {:.0f} %",
                    name, dense.size(), 100 * median(dense), 100 * median(dense, 0.9), mixture.size(),
                    100 * median(mixture), 100 * median(mixture, 0.9), 100 * covered()));
  }
};

}  // namespace

TEST_CASE("calibrated on a device's other models, a held-out model's speed is predicted") {
  Score score;
  for (const Row& row : rows()) {
    if (row.depth > 0) continue;
    std::vector<Observation> seen;
    for (const Row& other : rows()) {
      if (other.depth > 0 || other.device != row.device || other.build != row.build) continue;
      if (other.model() != row.model()) seen.push_back({other.work.bytes, other.work.layers, 1 / other.speed});
    }
    if (seen.size() < 2) continue;
    score.add(row, calibrated(prior_constants(row.kind, row.nominal), seen));
  }
  score.print("leave one model out");
  CHECK(score.dense.size() >= 30);
  CHECK(median(score.dense) <= 0.025);
  CHECK(median(score.dense, 0.9) <= 0.12);
  CHECK(median(score.mixture) <= 0.07);
  CHECK(median(score.mixture, 0.9) <= 0.25);
  CHECK(score.covered() >= 0.85);
  CHECK(score.covered() <= 0.95);
}

TEST_CASE("an unseen device's speed is predicted from its kind and its nominal bandwidth") {
  // Priors are fitted anew without the device, from shares of the nominal bandwidth; the shipped ones saw all rows.
  Score score;
  for (const Row& row : rows()) {
    if (row.depth > 0) continue;
    std::vector<Observation> seen;
    for (const Row& other : rows()) {
      if (other.depth > 0 || other.device == row.device || other.kind != row.kind) continue;
      seen.push_back({other.work.bytes / other.nominal, other.work.layers, 1 / other.speed});
    }
    // A kind of which no other device is known has the start values of all.
    Constants share = calibrated({0.85, row.kind == SpeedKind::kMetal ? 100e-6 : 45e-6, 0, Provenance::kPrior}, seen);
    share.bandwidth *= row.nominal;
    share.provenance = Provenance::kPrior;
    score.add(row, share);
  }
  score.print("leave one device out");
  CHECK(median(score.dense) <= 0.10);
  CHECK(median(score.mixture) <= 0.20);
  CHECK(score.covered() >= 0.85);
  CHECK(score.covered() <= 0.95);
}

TEST_CASE("the shipped priors are what all rows together give") {
  for (const SpeedKind kind : {SpeedKind::kCuda, SpeedKind::kMetal, SpeedKind::kVulkan}) {
    std::vector<Observation> seen;
    for (const Row& row : rows()) {
      if (row.depth == 0 && row.kind == kind)
        seen.push_back({row.work.bytes / row.nominal, row.work.layers, 1 / row.speed});
    }
    const Constants fitted =
        calibrated({0.85, kind == SpeedKind::kMetal ? 100e-6 : 45e-6, 0, Provenance::kPrior}, seen);
    const Constants shipped = prior_constants(kind, 1);
    MESSAGE(fmt::format("share {:.3f} (shipped {:.2f}), layer {:.0f} us (shipped {:.0f})", fitted.bandwidth,
                        shipped.bandwidth, 1e6 * fitted.layer, 1e6 * shipped.layer));
    CHECK(std::abs(fitted.bandwidth / shipped.bandwidth - 1) < 0.05);
    CHECK(std::abs(fitted.layer / shipped.layer - 1) < 0.25);
  }
}

TEST_CASE("a deep context's speed follows from the empty one's, where windows are honoured") {
  std::vector<double> errors, without_windows;
  for (const Row& row : rows()) {
    if (row.depth == 0) continue;
    const auto empty = std::find_if(rows().begin(), rows().end(), [&](const Row& r) {
      return r.depth == 0 && r.device == row.device && r.build == row.build && r.shape == row.shape;
    });
    REQUIRE(empty != rows().end());
    const Constants c = prior_constants(row.kind, row.nominal);
    const double more = decode_seconds(c, row.work, row.depth) - decode_seconds(c, row.work, 0);
    errors.push_back(std::abs(1 / (1 / empty->speed + more) / row.speed - 1));
    if (row.work.kv_fixed > 0) {  // half the layers of these models have a window
      Work all = row.work;
      all.kv_per_token *= 2;
      const double seen = decode_seconds(c, all, row.depth) - decode_seconds(c, all, 0);
      without_windows.push_back(std::abs(1 / (1 / empty->speed + seen) / row.speed - 1));
    }
  }
  MESSAGE(fmt::format("{} depths: median {:.1f} %, most {:.1f} %; windows ignored: most {:.1f} %", errors.size(),
                      100 * median(errors), 100 * median(errors, 1), 100 * median(without_windows, 1)));
  CHECK(median(errors) <= 0.04);
  CHECK(median(without_windows, 1) > 0.1);
}

TEST_CASE("prefill is predicted from a device's other models, and from its kind, within what plans say of it") {
  const std::vector<Row> all = read_rows("prefill.csv");
  const auto predicted = [](const Constants& c, const Row& row) {
    return row.depth / prefill_seconds(c, row.work, row.depth, 512);
  };
  std::vector<double> dense, mixture, dense_prior, mixture_prior;
  for (const Row& row : all) {
    Constants c = prior_constants(row.kind, row.nominal);
    const auto error = [&] { return std::abs(predicted(c, row) / row.speed - 1); };
    (row.work.mixture ? mixture_prior : dense_prior).push_back(error());
    double logs = 0;
    int n = 0;
    for (const Row& other : all) {
      if (other.device != row.device || other.model() == row.model()) continue;
      logs += std::log(other.work.flops * other.speed / (other.work.mixture ? kMixtureCompute : 1));
      ++n;
    }
    if (n < 2) continue;
    c.compute = std::exp(logs / n);
    (row.work.mixture ? mixture : dense).push_back(error());
  }
  MESSAGE(
      fmt::format("prefill, leave one model out: dense {} rows, median {:.0f} %, most {:.0f} %; mixtures {} rows, "
                  "median {:.0f} %, most {:.0f} %",
                  dense.size(), 100 * median(dense), 100 * median(dense, 1), mixture.size(), 100 * median(mixture),
                  100 * median(mixture, 1)));
  MESSAGE(
      fmt::format("prefill, priors: dense {} rows, median {:.0f} %, most {:.0f} %; mixtures {} rows, median {:.0f} "
                  "%, most {:.0f} %",
                  dense_prior.size(), 100 * median(dense_prior), 100 * median(dense_prior, 1), mixture_prior.size(),
                  100 * median(mixture_prior), 100 * median(mixture_prior, 1)));
  CHECK(median(dense) <= 0.3);
  CHECK(median(mixture) <= 0.5);
  CHECK(median(dense_prior) <= 0.5);
}

TEST_CASE("more context is never faster, more bandwidth never slower") {
  for (const Row& row : rows()) {
    const Constants c = prior_constants(row.kind, row.nominal), faster = prior_constants(row.kind, row.nominal * 1.1);
    double before = 0;
    for (const double depth : {0.0, 1.0, 4096.0, 131072.0}) {
      const double now = decode_seconds(c, row.work, depth);
      CHECK(now >= before);
      CHECK(decode_seconds(faster, row.work, depth) <= now);
      before = now;
    }
  }
}
