#include <array>
#include <base/mapping.hpp>
#include <base/toml_table.hpp>
#include <charconv>
#include <cmath>
#include <loader/paths.hpp>
#include <set>
#include <span>
#include <topology/machine_file.hpp>

namespace brim::topology {
namespace {

constexpr uint64_t kMostBytes = 256 * 1024;  // of a file
constexpr size_t kMostParts = 64;            // pools, devices, readings, links of one machine each
constexpr double kMostNumber = 9e18;

constexpr std::array kKinds = {ReadingKind::kHostAvailable, ReadingKind::kHostFree,  ReadingKind::kHostLimit,
                               ReadingKind::kCommitLeft,    ReadingKind::kHugePages, ReadingKind::kCarveOut,
                               ReadingKind::kDeviceNode,    ReadingKind::kDriver,    ReadingKind::kManagement,
                               ReadingKind::kHeap};

struct Unit {
  std::string_view name;
  double factor;
};
constexpr double kKi = 1024;
constexpr Unit kByteUnits[] = {{"B", 1},
                               {"kB", 1e3},
                               {"MB", 1e6},
                               {"GB", 1e9},
                               {"TB", 1e12},
                               {"KiB", kKi},
                               {"MiB", kKi* kKi},
                               {"GiB", kKi* kKi* kKi},
                               {"TiB", kKi* kKi* kKi* kKi}};
constexpr Unit kFlopUnits[] = {{"GFLOP/s", 1e9}, {"TFLOP/s", 1e12}, {"PFLOP/s", 1e15}};

// "24 GiB" by the table's units, each with `suffix` behind it; nothing for other texts.
std::optional<double> quantity(std::string_view text, std::span<const Unit> units, std::string_view suffix) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || !(number >= 0)) return {};
  text = text.substr(static_cast<size_t>(stop - text.data()));
  while (text.starts_with(' ')) text.remove_prefix(1);
  if (!text.ends_with(suffix)) return {};
  text.remove_suffix(suffix.size());
  for (const Unit& unit : units)
    if (unit.name == text && number * unit.factor < kMostNumber) return number * unit.factor;
  return {};
}

double number_of(const TomlTable& t, std::string_view key, std::span<const Unit> units, std::string_view suffix,
                 std::string_view expected) {
  const toml::node* node = t.get(key);
  if (!node) return 0;
  if (const auto whole = node->value_exact<int64_t>(); whole && *whole >= 0) return static_cast<double>(*whole);
  if (const auto text = node->value_exact<std::string>())
    if (const auto value = quantity(*text, units, suffix)) return *value;
  t.wrong(key, expected, *node);
}

uint64_t bytes_of(const TomlTable& t, std::string_view key) {
  const toml::node* node = t.get(key);  // whole numbers keep every digit
  if (node)
    if (const auto whole = node->value_exact<int64_t>(); whole && *whole >= 0) return static_cast<uint64_t>(*whole);
  return static_cast<uint64_t>(number_of(t, key, kByteUnits, "", "bytes, or a text such as \"24 GiB\""));
}

uint64_t speed_of(const TomlTable& t, std::string_view key) {
  return static_cast<uint64_t>(
      std::llround(number_of(t, key, kByteUnits, "/s", "bytes/s, or a text such as \"273 GB/s\"")));
}

[[noreturn]] void bad(const std::string& source, const TomlTable& t, std::string_view key, std::string_view expected,
                      std::string_view found) {
  fail(BRIM_DATA_CORRUPT, "'{}', line {}: '{}' must be {}, found \"{}\"", source, t.line(), t.full(key), expected,
       printable(found));
}

Fact fact_of(const TomlTable& t, std::string_view key) {
  const auto value = t.boolean(key);
  return !value ? Fact::kNotSaid : *value ? Fact::kYes : Fact::kNo;
}

class Reader {
 public:
  explicit Reader(const std::string& source) : source_(source) {}

  MachineFile read(std::string_view toml) {
    const toml::table root = parse_toml(toml, source_, "description of a machine");
    const TomlTable file(&root, "", source_, {"name", "os", "pool", "device"});
    machine_.name = file.text("name");
    machine_.windows = one_of(file, "os", {"linux", "windows", "macos"}, "linux") == "windows";
    for (const TomlTable& t :
         parts(file, "pool",
               {"id", "name", "bytes", "nominal_bandwidth", "read_bandwidth", "available", "carve_out", "reading"}))
      pool(t);
    if (machine_.pools.empty() || machine_.pools[0].id != "system")
      fail(BRIM_DATA_CORRUPT, "'{}': the first [[pool]] must have id = \"system\": the memory that processors use",
           source_);
    for (const TomlTable& t : parts(file, "device",
                                    {"name", "type", "architecture", "driver", "backend", "pool", "software",
                                     "pageable_access", "host_page_tables", "concurrent_managed", "bandwidth", "flops",
                                     "max_allocation", "uuid", "pci", "settings", "link"}))
      device(t);
    if (machine_.devices.empty()) fail(BRIM_DATA_CORRUPT, "'{}': there is no [[device]]", source_);
    for (MachineFile::Device& d : machine_.devices) finish(d);
    return std::move(machine_);
  }

 private:
  std::vector<TomlTable> parts(const TomlTable& t, std::string_view key,
                               std::initializer_list<std::string_view> known) const {
    std::vector<TomlTable> out = t.tables(key, known);
    if (out.size() > kMostParts)
      fail(BRIM_DATA_CORRUPT, "'{}', line {}: {} of [[{}]]; at most {} are read", source_, out[kMostParts].line(),
           out.size(), t.full(key), kMostParts);
    return out;
  }

  // `fallback` empty: the key is wanted.
  std::string one_of(const TomlTable& t, std::string_view key, std::initializer_list<std::string_view> choices,
                     std::string_view fallback) const {
    const std::string value = t.get(key) || fallback.empty() ? t.text(key) : std::string(fallback);
    if (std::find(choices.begin(), choices.end(), value) == choices.end())
      bad(source_, t, key, fmt::format("one of {}", fmt::join(choices, ", ")), value);
    return value;
  }

  uint32_t pool_of(const TomlTable& t, std::string_view key) const {
    const std::string id = t.text(key);
    std::vector<std::string> ids;
    for (uint32_t i = 0; i < machine_.pools.size(); ++i) {
      if (machine_.pools[i].id == id) return i;
      ids.push_back(machine_.pools[i].id);
    }
    bad(source_, t, key, fmt::format("the id of a [[pool]] ({})", fmt::join(ids, ", ")), id);
  }

  void pool(const TomlTable& t) {
    MachineFile::Pool p;
    p.id = t.text("id");
    for (const MachineFile::Pool& other : machine_.pools)
      if (other.id == p.id) bad(source_, t, "id", "an id that no other [[pool]] has", p.id);
    p.name = t.text_or_empty("name");
    if (p.name.empty()) p.name = p.id == "system" ? "system memory" : p.id;
    p.bytes = bytes_of(t, "bytes");
    if (p.bytes == 0)
      fail(BRIM_DATA_CORRUPT, "'{}', line {}: '{}' is missing or 0", source_, t.line(), t.full("bytes"));
    p.nominal_bandwidth = speed_of(t, "nominal_bandwidth");
    p.read_bandwidth = speed_of(t, "read_bandwidth");
    for (const TomlTable& r : parts(t, "reading", {"kind", "name", "bytes", "of", "view"})) {
      const std::string kind = r.text("kind");
      const auto found =
          std::find_if(kKinds.begin(), kKinds.end(), [&](ReadingKind k) { return reading_name(k) == kind; });
      if (found == kKinds.end()) {
        std::vector<std::string_view> names;
        for (const ReadingKind k : kKinds) names.push_back(reading_name(k));
        bad(source_, r, "kind", fmt::format("one of {}", fmt::join(names, ", ")), kind);
      }
      std::string name = r.text_or_empty("name");
      if (name.empty()) name = kind;
      p.readings.push_back({*found,
                            bytes_of(r, "bytes"),
                            bytes_of(r, "of"),
                            std::move(name),
                            static_cast<uint32_t>(r.integer("view", 0, kMostParts, 0)),
                            false,
                            {}});
    }
    const uint64_t carve_out = bytes_of(t, "carve_out"), available = bytes_of(t, "available");
    for (const auto& [key, bytes] : {std::pair{"carve_out", carve_out}, {"available", available}}) {
      if (bytes > p.bytes || (bytes && !p.readings.empty()))
        bad(source_, t, key, p.readings.empty() ? "no more than bytes" : "absent where there is a [[pool.reading]]",
            std::to_string(bytes));
    }
    if (p.readings.empty()) {
      const uint64_t seen = p.bytes - carve_out;  // by the host
      p.readings.push_back({p.id == "system" ? ReadingKind::kHostAvailable : ReadingKind::kDriver,
                            available ? available : seen,
                            seen,
                            "described",
                            0,
                            false,
                            {}});
      if (carve_out)
        p.readings.push_back({ReadingKind::kCarveOut, carve_out, carve_out, "set aside for the GPU", 0, false, {}});
    }
    machine_.pools.push_back(std::move(p));
  }

  void device(const TomlTable& t) {
    MachineFile::Device d;
    d.name = t.text("name");
    const std::string type = one_of(t, "type", {"cpu", "integrated", "discrete", "accelerator"}, "");
    d.facts.type = type == "cpu"          ? BRIM_DEVICE_CPU
                   : type == "integrated" ? BRIM_DEVICE_INTEGRATED
                   : type == "discrete"   ? BRIM_DEVICE_DISCRETE
                                          : BRIM_DEVICE_ACCELERATOR;
    d.architecture = t.text_or_empty("architecture");
    d.driver = t.text_or_empty("driver");
    d.backend = t.text_or_empty("backend");
    d.pool = t.get("pool") ? pool_of(t, "pool") : 0;
    d.facts.software = t.boolean("software").value_or(false);
    d.facts.pageable = fact_of(t, "pageable_access");
    d.facts.host_page_tables = fact_of(t, "host_page_tables");
    d.facts.concurrent_managed = fact_of(t, "concurrent_managed");
    d.bandwidth = speed_of(t, "bandwidth");
    d.flops = number_of(t, "flops", kFlopUnits, "", "FLOP/s, or a text such as \"60 TFLOP/s\"");
    d.max_allocation = bytes_of(t, "max_allocation");
    if (const std::string text = t.text_or_empty("uuid"); !text.empty()) {
      if (text.size() != 32 || !hex(text.substr(0, 16), d.uuid[0]) || !hex(text.substr(16), d.uuid[1]))
        bad(source_, t, "uuid", "32 hexadecimal digits", text);
    }
    if (const std::string text = t.text_or_empty("pci"); !text.empty()) {
      uint64_t domain, bus, slot, function;
      if (text.size() != 12 || !hex(text.substr(0, 4), domain) || !hex(text.substr(5, 2), bus) ||
          !hex(text.substr(8, 2), slot) || !hex(text.substr(11), function))
        bad(source_, t, "pci", "an address such as \"0000:01:00.0\"", text);
      d.pci = domain << 32 | bus << 16 | slot << 8 | function;
    }
    if (const toml::node* node = t.get("settings")) {
      if (!node->is_table()) t.wrong("settings", "a table", *node);
      for (const auto& [key, value] : *node->as_table()) {
        if (!value.is_string()) t.wrong("settings", "a table of strings", value);
        d.settings[std::string(key.str())] = value.as_string()->get();
      }
    }
    for (const TomlTable& l : parts(t, "link", {"pool", "bandwidth", "latency_ns", "coherent"})) {
      MachineFile::Link link;
      link.pool = pool_of(l, "pool");
      link.bandwidth = speed_of(l, "bandwidth");
      link.latency_ns = static_cast<uint64_t>(l.integer("latency_ns", 0, 1'000'000'000, 0));
      link.coherent = l.boolean("coherent").value_or(false);
      d.links.push_back(link);
    }
    machine_.devices.push_back(std::move(d));
  }

  // What follows from all of it.
  void finish(MachineFile::Device& d) {
    MachineFile::Pool& system = machine_.pools[0];
    d.facts.windows = machine_.windows;
    d.facts.own_pool = d.pool != 0;
    d.facts.own_link = d.pci != 0 || !d.links.empty();
    d.facts.device_bytes = d.pool ? machine_.pools[d.pool].bytes : 0;
    d.facts.host_bytes = system.bytes;
    // Under Windows a GPU in the system's memory gets its carve-out and a region behind it, by rule.
    if (classify(d.facts).value != Class::kWindowsUma) return;
    uint64_t carve_out = 0;
    for (const Reading& r : system.readings) {
      if (r.kind == ReadingKind::kDriver) return;
      if (r.kind == ReadingKind::kCarveOut) carve_out += r.of;
    }
    const uint64_t reach = carve_out + windows_shared_region(system.bytes - std::min(carve_out, system.bytes));
    system.readings.push_back(
        {ReadingKind::kDriver, reach, reach, "carve-out and shared region, by Windows' rule", 0, false, {}});
  }

  static bool hex(std::string_view text, uint64_t& out) {
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), out, 16);
    return error == std::errc() && stop == text.data() + text.size();
  }

  const std::string& source_;
  MachineFile machine_;
};

}  // namespace

MachineFile parse_machine(std::string_view toml, const std::string& source) { return Reader(source).read(toml); }

MachineFile open_machine(const std::string& file_or_name, const std::vector<std::string>& folders) {
  std::string path;
  if (file_or_name.ends_with(".toml") || file_or_name.find_first_of("/\\") != std::string::npos) {
    path = file_or_name;
  } else {
    std::set<std::string> names;
    for (const std::string& folder : folders) {
      std::error_code ignored;
      if (!std::filesystem::is_directory(loader::from_utf8(folder), ignored)) continue;
      for (const std::string& name : os::names_in(folder)) {
        if (!name.ends_with(".toml")) continue;
        const std::string stem = name.substr(0, name.size() - 5);
        if (stem == file_or_name && path.empty()) path = loader::to_utf8(loader::from_utf8(folder) / name);
        names.insert(stem);
      }
    }
    if (path.empty()) {
      const std::string near = nearest(file_or_name.substr(0, 256), names);
      fail(BRIM_NOT_FOUND,
           "there is no machine '{}' in {}{}; there are: {}. A file is named by a path that ends with "
           ".toml",
           printable(file_or_name), fmt::join(folders, ", "),
           near.empty() ? "" : fmt::format("; did you mean '{}'?", near),
           names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
    }
  }
  const File file(path);
  if (file.size() > kMostBytes)
    fail(BRIM_DATA_CORRUPT, "'{}' is no description of a machine: {} bytes, at most {} are read", path, file.size(),
         kMostBytes);
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return parse_machine(text, path);
}

}  // namespace brim::topology
