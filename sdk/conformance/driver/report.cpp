#include "report.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "../check.hpp"

namespace check {
namespace {

using Json = nlohmann::json;

const char* word(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPassed:
      return "passed";
    case Verdict::kFailed:
      return "failed";
    default:
      return "skipped";
  }
}

std::string group_of(const Outcome& outcome) {
  const std::string name = outcome.test->name;
  return name.substr(0, name.find('.'));
}

// Text of an XML attribute or element; what XML 1.0 cannot hold becomes "?".
std::string xml(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? '?' : c;
    }
  }
  return out;
}

}  // namespace

std::string table_line(const Outcome& o) {
  const char* mark = o.verdict == Verdict::kPassed ? "ok" : o.verdict == Verdict::kFailed ? "FAIL" : "skip";
  std::string out = fmt::format("{:<4} {:<36} {:>6.2f} s", mark, o.test->name, o.seconds);
  if (o.verdict == Verdict::kSkipped) out += "  " + o.skipped;
  for (size_t i = 0; i < o.notes.size(); ++i) out += (i == 0 ? "  " : "; ") + o.notes[i];
  out += '\n';
  for (const std::string& finding : o.findings) out += fmt::format("       {}\n", finding);
  return out;
}

std::string summary_line(const std::vector<Outcome>& outcomes) {
  const auto count = [&](Verdict verdict) {
    return std::count_if(outcomes.begin(), outcomes.end(), [&](const Outcome& o) { return o.verdict == verdict; });
  };
  return fmt::format("{} passed, {} failed, {} skipped\n", count(Verdict::kPassed), count(Verdict::kFailed),
                     count(Verdict::kSkipped));
}

std::string as_json(const Target& target, const Identity& identity, const std::vector<Outcome>& outcomes) {
  Json tests = Json::array();
  for (const Outcome& o : outcomes) {
    tests.push_back({{"name", o.test->name},
                     {"statement", o.test->statement},
                     {"verdict", word(o.verdict)},
                     {"seconds", o.seconds},
                     {"findings", o.findings},
                     {"notes", o.notes},
                     {"skipped", o.skipped}});
  }
  return Json{{"plugin", target.library},
              {"id", identity.id},
              {"version", identity.version},
              {"seed", target.seed},
              {"tests", std::move(tests)}}
             .dump(1) +
         "\n";
}

std::string as_support_csv(const std::vector<Outcome>& outcomes) {
  std::string out = "op,dtype,features,numerics,support,worst_error,cases\n";
  for (const Outcome& o : outcomes) {
    for (const std::string& row : o.support) out += row + '\n';
  }
  return out;
}

std::string as_junit(const Target& target, const std::vector<Outcome>& outcomes) {
  std::map<std::string, std::vector<const Outcome*>> groups;
  for (const Outcome& o : outcomes) groups[group_of(o)].push_back(&o);
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"brim-check\">\n";
  for (const auto& [group, tests] : groups) {
    size_t failed = 0, skipped = 0;
    double seconds = 0;
    for (const Outcome* o : tests) {
      failed += o->verdict == Verdict::kFailed;
      skipped += o->verdict == Verdict::kSkipped;
      seconds += o->seconds;
    }
    out += fmt::format("  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3f}\">\n", group,
                       tests.size(), failed, skipped, seconds);
    for (const Outcome* o : tests) {
      out += fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\"", xml(target.library),
                         xml(o->test->name), o->seconds);
      if (o->verdict == Verdict::kPassed) {
        out += "/>\n";
        continue;
      }
      out += ">\n";
      if (o->verdict == Verdict::kSkipped) out += fmt::format("      <skipped message=\"{}\"/>\n", xml(o->skipped));
      for (const std::string& finding : o->findings) {
        out += fmt::format("      <failure message=\"{}\"/>\n", xml(finding));
      }
      out += "    </testcase>\n";
    }
    out += "  </testsuite>\n";
  }
  return out + "</testsuites>\n";
}

}  // namespace check
