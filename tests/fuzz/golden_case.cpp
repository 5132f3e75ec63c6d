// brim-check's reader of reference cases: `case.json NUL bytes of an output file`. Whatever they hold, the case is
// refused with a BadInput or gives the runner what it relies on.
#include "../../sdk/conformance/golden_case.hpp"

#include "../../sdk/conformance/check.hpp"
#include "../support/temp_folder.hpp"
#include "fuzz.hpp"

using namespace brim::fuzz;

namespace {

template <class F>
bool reads(const F& f) {
  try {
    f();
    return true;
  } catch (const check::BadInput& error) {
    expect(std::string_view(error.what()).find("/") != std::string_view::npos, "a refusal names the file",
           error.what());
    return false;
  } catch (const std::exception& error) {
    broken("a bad case is refused with a BadInput", error.what());
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const brim::test::TempFolder temp;
  static const std::string folder = temp.path().string();
  std::string_view rest = text_of(data, size);
  write_file(temp / "case.json", next_part(rest, '\0'));
  write_file(temp / "out.f32", rest);
  check::GoldenCase golden;
  if (!reads([&] { golden = check::read_case(folder); })) return 0;

  size_t rows = 0;
  for (const check::GoldenRun& run : golden.runs) {
    expect(run.first_row == rows, "runs lie one behind the other");
    expect(run.rows <= golden.rows - rows, "a run lies within the case");
    rows += run.rows;
  }
  expect(rows == golden.rows && golden.width > 0, "the runs fill the case");
  reads([&] { expect(!check::read_outputs(golden, "absent.f32"), "a missing file is nothing"); });
  std::optional<std::vector<float>> outputs;
  if (!reads([&] { outputs = check::read_outputs(golden, "out.f32"); })) return 0;
  expect(outputs && outputs->size() * sizeof(float) == rest.size(), "the outputs are the file");
  // Last row and column, as the comparison addresses them.
  expect(golden.rows == 0 || outputs->size() / golden.width == golden.rows, "the outputs have the case's rows");
  check::write_outputs(temp / "again.f32", *outputs);
  const auto again = check::read_outputs(golden, "again.f32");
  expect(again && (outputs->empty() || std::memcmp(again->data(), outputs->data(), rest.size()) == 0),
         "what is written is read again");
  return 0;
}
