// Plugin manifests: whatever the text, it is refused or gives a manifest whose library lies beside or below it.
#include <loader/manifest.hpp>

#include "../support/temp_folder.hpp"
#include "fuzz.hpp"

using namespace brim::fuzz;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const brim::test::TempFolder folder;
  static const std::string path = folder / "plugin.toml";
  static const std::string inside = path.substr(0, path.size() - std::string_view("plugin.toml").size());
  write_file(path, text_of(data, size));
  brim::loader::Manifest m;
  if (!accepts([&] { m = brim::loader::read_manifest(path); })) return 0;
  expect(m.kind == "backend" || m.kind == "architecture", "the kind is known", m.kind);
  expect(!m.id.empty() && !m.version.empty() && !m.license.empty(), "what is required is there");
  expect(m.library.starts_with(inside), "the library lies in the manifest's folder", m.library);
  expect(m.library.find("/../") == m.library.npos, "the library's path has no way up", m.library);
  static_cast<void>(brim::loader::unmet_requirement(m, {"avx2", "fma"}));
  return 0;
}
