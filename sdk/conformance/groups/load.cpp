// load: the library's file, the handshake, and the life of instances.
#include <algorithm>
#include <set>
#include <thread>

#include "../bench/device.hpp"
#include "../bench/manifest.hpp"
#include "../bench/symbols.hpp"
#include "../os/os.hpp"
#include "groups.hpp"

namespace check {
namespace {

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ", ") + part;
  return out;
}

void exports(Trial& trial) {
  const auto symbols = read_symbols(trial.target().library);
  if (!symbols) trial.skip("the file is neither ELF nor PE: its exports cannot be read");
  std::vector<std::string> others = symbols->exported;
  const auto own = std::find(others.begin(), others.end(), BRIM_PLUGIN_QUERY_SYMBOL);
  if (trial.expect(own != others.end(), "the library does not export {}", BRIM_PLUGIN_QUERY_SYMBOL)) others.erase(own);
  const size_t n = others.size();
  if (others.size() > 5) others.resize(5);
  trial.expect(n == 0,
               "the library exports {} symbols beside {}: {}{}; hide them (a version script, -fvisibility=hidden)", n,
               BRIM_PLUGIN_QUERY_SYMBOL, joined(others), n > 5 ? ", ..." : "");
  for (const std::string& library : symbols->needed) {
    trial.expect(library.find("libbrim") == std::string::npos,
                 "the library is linked with {}; a plugin links nothing of Brim's", library);
  }
}

void manifest(Trial& trial) {
  const std::string& path = trial.target().manifest;
  if (path.empty()) {
    trial.fail("no manifest beside the library names it: a host would not find it");
    return;
  }
  const Manifest m = read_manifest(path);
  const brim_plugin_header& header = open_header(trial);
  const auto same = [&](const char* key, const std::string& told, const std::string& is) {
    trial.expect(told == is, "the manifest says {} = \"{}\", the library is \"{}\"", key, told, is);
  };
  same("plugin.id", m.id, std::string(view(header.id)));
  same("plugin.version", m.version, std::string(view(header.version)));
  same("plugin.license", m.license, std::string(view(header.license)));
  same("plugin.kind", m.kind,
       header.kind == BRIM_KIND_BACKEND        ? "backend"
       : header.kind == BRIM_KIND_ARCHITECTURE ? "architecture"
                                               : std::to_string(header.kind));
  const auto equal = [&](const char* key, int64_t told, uint32_t is) {
    trial.expect(told == static_cast<int64_t>(is), "the manifest says {} = {}, the library's header {}", key, told, is);
  };
  equal("abi.major", m.major, header.major);
  equal("abi.minor", m.minor, header.minor);
  equal("abi.min_minor", m.min_minor, header.min_minor);
#if defined(__linux__)
  constexpr const char* kOs = "linux";
#elif defined(_WIN32)
  constexpr const char* kOs = "windows";
#else
  constexpr const char* kOs = "";
#endif
#if defined(__x86_64__)
  constexpr const char* kArch = "x86_64";
#elif defined(__aarch64__)
  constexpr const char* kArch = "aarch64";
#else
  constexpr const char* kArch = "";
#endif
  // The library has been opened, so this is what it is for.
  trial.expect(m.os.empty() || m.os == kOs, "the manifest says requires.os = \"{}\"; the library opens on \"{}\"", m.os,
               kOs);
  trial.expect(m.arch.empty() || m.arch == kArch,
               "the manifest says requires.arch = \"{}\"; the library opens on \"{}\"", m.arch, kArch);
  static const std::set<std::string> known = {
      "avx2",        "fma",         "f16c", "bmi2",    "avx512f", "avx512bw", "avx512vl", "avx512dq",
      "avx512_vnni", "avx512_bf16", "neon", "dotprod", "fp16",    "i8mm",     "bf16",     "sve"};
  for (const std::string& feature : m.cpu_features) {
    trial.expect(known.contains(feature),
                 "the manifest's cpu_features names \"{}\", which no host detects: nothing would load it", feature);
  }
}

void query_is_pure(Trial& trial) {
  const os::Holdings before = os::holdings();
  os::start_counting();
  const brim_plugin_query_fn query = open_query(trial);
  const os::Counted opening = os::stop_counting();
  const os::Holdings opened = os::holdings();
  os::start_counting();
  begin_call("brim_plugin_query");
  const brim_plugin_header* header = query(BRIM_ABI_MAJOR);
  end_call();
  const os::Counted asked = os::stop_counting();
  const os::Holdings after = os::holdings();
  trial.expect(query(BRIM_ABI_MAJOR) == header, "brim_plugin_query answers two different headers for one major");
  if (before.known) {
    trial.expect(opened.threads == before.threads, "opening the library starts {} threads",
                 opened.threads - before.threads);
    trial.expect(opened.files == before.files, "opening the library leaves files open: {}", joined(opened.files));
    trial.expect(after.threads == opened.threads, "brim_plugin_query starts {} threads",
                 after.threads - opened.threads);
    trial.expect(after.files == opened.files, "brim_plugin_query leaves files open: {}", joined(after.files));
  }
  if (asked.known) {
    trial.expect(asked.allocations == 0, "brim_plugin_query allocates ({} calls); its answer is constant",
                 asked.allocations);
    trial.expect(asked.maps == 0, "brim_plugin_query maps memory ({} calls)", asked.maps);
    trial.expect(asked.environment == 0, "brim_plugin_query reads the environment ({} calls)", asked.environment);
    trial.expect(opening.environment == 0, "the library reads the environment while it is opened ({} calls)",
                 opening.environment);
  }
  if (!before.known && !asked.known) trial.skip("this system does not tell what a process holds");
}

void header_is_sane(Trial& trial) {
  const brim_plugin_header& h = open_header(trial);
  trial.expect(h.min_minor <= h.minor, "min_minor {} is above the minor {} that it was built against", h.min_minor,
               h.minor);
  trial.expect(h.min_minor <= BRIM_ABI_MINOR, "min_minor {} refuses this host of minor {}", h.min_minor,
               BRIM_ABI_MINOR);
  trial.expect(h.kind == BRIM_KIND_BACKEND || h.kind == BRIM_KIND_ARCHITECTURE, "kind {} is none of BRIM_KIND_*",
               h.kind);
  trial.expect(h.reserved0 == 0, "reserved0 is {}; what is reserved is 0", h.reserved0);
  constexpr uint32_t kFlags = BRIM_BUILD_ASAN | BRIM_BUILD_TSAN | BRIM_BUILD_DEBUG;
  trial.expect((h.build_flags & ~kFlags) == 0, "build_flags {:#x} has bits that are none of BRIM_BUILD_*",
               h.build_flags);
  for (const auto& [name, text] : {std::pair{"id", h.id}, {"version", h.version}, {"license", h.license}}) {
    trial.expect(text.ptr != nullptr && text.len > 0 && text.len < 256, "{} is empty or longer than 255 bytes", name);
  }
  const std::string_view id = view(h.id);
  trial.expect(id.find('.') != id.npos, "id \"{}\" is not in reverse-DNS style (\"org.example.npu\")", id);
}

void wrong_major(Trial& trial) {
  const brim_plugin_query_fn query = open_query(trial);
  for (const uint32_t major : {BRIM_ABI_MAJOR + 1, BRIM_ABI_MAJOR + 77, UINT32_MAX}) {
    begin_call("brim_plugin_query for another major");
    const brim_plugin_header* header = query(major);
    end_call();
    if (header == nullptr) continue;
    trial.expect(header->magic == BRIM_PLUGIN_MAGIC, "asked for major {}: the header's magic is {:#x}", major,
                 header->magic);
    trial.expect(header->struct_size >= offsetof(brim_plugin_header, reserved0),
                 "asked for major {}: the header has {} bytes; the frozen prefix alone has {}", major,
                 header->struct_size, offsetof(brim_plugin_header, reserved0));
    trial.expect(header->major != major, "asked for major {}, which is not out yet, the header claims to have it",
                 major);
  }
}

void build_flags(Trial& trial) {
  const auto symbols = read_symbols(trial.target().library);
  if (!symbols || symbols->imported.empty()) trial.skip("the file's imports cannot be read");
  const brim_plugin_header& header = open_header(trial);
  const auto uses = [&](const char* prefix) {
    return std::any_of(symbols->imported.begin(), symbols->imported.end(),
                       [&](const std::string& name) { return name.rfind(prefix, 0) == 0; });
  };
  for (const auto& [prefix, flag, name] : {std::tuple{"__asan_", BRIM_BUILD_ASAN, "BRIM_BUILD_ASAN"},
                                           std::tuple{"__tsan_", BRIM_BUILD_TSAN, "BRIM_BUILD_TSAN"}}) {
    const bool told = (header.build_flags & flag) != 0;
    trial.expect(uses(prefix) == told, "the library {} {}* and its build_flags {} {}",
                 uses(prefix) ? "imports" : "does not import", prefix, told ? "have" : "lack", name);
  }
}

void create_many(Trial& trial) {
  Host host;
  const auto once = [&] {
    Instance instance(trial, host);
    instance.destroy();
  };
  for (int i = 0; i < 3; ++i) once();  // what the C++ runtime sets up once
  const os::Holdings before = os::holdings();
  os::start_counting();
  for (int i = 0; i < 100 && trial.clean(); ++i) once();
  const os::Counted counted = os::stop_counting();
  const os::Holdings after = os::holdings();
  if (before.known) {
    trial.expect(after.threads == before.threads, "leak: {} threads more after 100 instances",
                 after.threads - before.threads);
    trial.expect(after.files.size() == before.files.size(), "leak: {} open files before 100 instances, {} after",
                 before.files.size(), after.files.size());
  }
  trial.expect(!counted.known || counted.environment == 0,
               "create reads the environment ({} calls in 100 instances); settings are how a host configures a plugin",
               counted.environment);
  // The checker's own strings come and go in pairs; what grows with the instances is the plugin's.
  const auto live = static_cast<int64_t>(counted.live);
  trial.expect(!counted.known || live < 50, "leak: {} allocations are left after 100 instances (create .. destroy)",
               live);
}

void two_instances(Trial& trial) {
  Host first, second;
  Instance one(trial, first);
  {
    Instance two(trial, second);
    trial.expect(one.plugin() != two.plugin(), "create gives the same instance twice");
    trial.expect(second.live_blocks() > 0 || first.live_blocks() == 0,
                 "the second instance holds nothing of its own host's memory, the first does: they share");
  }
  // The first lives on when the second is gone.
  const brim_plugin_header& header = open_header(trial);
  const char* const id = header.kind == BRIM_KIND_BACKEND ? BRIM_BACKEND_INTERFACE : BRIM_ARCHITECTURE_INTERFACE;
  trial.expect(one.interface(id) != nullptr, "after another instance was destroyed, get_interface(\"{}\") is NULL", id);
  if (header.kind != BRIM_KIND_BACKEND) return;
  Layer layer(trial, one);
  uint32_t n = 0;
  must(trial, "device_count", layer.device_count(&n, nullptr));
  Instance three(trial, second);
  Layer other(trial, three);
  if (n == 0) return;
  brim_device *a = nullptr, *b = nullptr;
  const uint64_t theirs = second.allocations();
  must(trial, "device_open", layer.device_open(0, &a));
  trial.expect(second.allocations() == theirs,
               "device_open of one instance takes memory from another instance's host: they share something global");
  must(trial, "device_open of a second instance", other.device_open(0, &b));
  layer.device_close(a);
  brim_device_info info{};
  must(trial, "device_info after the other instance's device was closed", other.device_info(b, &info));
  other.device_close(b);
}

void create_from_threads(Trial& trial) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      try {
        for (int i = 0; i < 10; ++i) {
          Host host;
          Instance instance(trial, host);
        }
      } catch (const Stopped&) {
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void host_of_shape(Trial& trial, const Host::Shape& shape) {
  Host host(shape);
  Instance instance(trial, host);
  const brim_plugin_header& header = open_header(trial);
  if (header.kind != BRIM_KIND_BACKEND) return;
  Layer layer(trial, instance);
  uint32_t n = 0;
  must(trial, "device_count", layer.device_count(&n, nullptr));
  if (n == 0) return;
  brim_device* device = nullptr;
  must(trial, "device_open", layer.device_open(0, &device));
  layer.device_close(device);
}

void newer_host(Trial& trial) {
  Host::Shape shape;
  shape.abi_minor = BRIM_ABI_MINOR + 5;
  shape.api_bytes = sizeof(brim_host_api) + 64;
  host_of_shape(trial, shape);
}

void older_host(Trial& trial) {
  Host::Shape shape;
  shape.abi_minor = open_header(trial).min_minor;
  shape.api_bytes = BRIM_SIZE_THROUGH(brim_host_api, team_size);
  host_of_shape(trial, shape);
}

void interfaces(Trial& trial) {
  Host host;
  Instance instance(trial, host);
  const brim_plugin_header& header = open_header(trial);
  const std::string id = header.kind == BRIM_KIND_BACKEND ? BRIM_BACKEND_INTERFACE : BRIM_ARCHITECTURE_INTERFACE;
  const void* table = instance.interface(id.c_str());
  if (!trial.expect(table != nullptr, "get_interface(\"{}\") is NULL, and the header's kind promises it", id)) return;
  trial.expect(instance.interface(id.c_str()) == table, "get_interface(\"{}\") answers differently each time", id);
  uint32_t size = 0;
  std::memcpy(&size, table, sizeof(size));
  const size_t least = header.kind == BRIM_KIND_BACKEND ? BRIM_SIZE_THROUGH(brim_backend, program_run)
                                                        : BRIM_SIZE_THROUGH(brim_architecture, build);
  trial.expect(size >= least, "{}: struct_size is {}; what is required takes {}", id, size, least);
  for (const std::string& other : {std::string(), id + "0", id.substr(0, id.size() - 1), id + "/x",
                                   std::string("org.example.none/1"), std::string(5000, 'x')}) {
    trial.expect(instance.interface(other.c_str()) == nullptr, "get_interface(\"{}\") is not NULL; nobody defined it",
                 other.substr(0, 40));
  }
}

void unknown_setting(Trial& trial) {
  Host host;
  Answer answer;
  brim_plugin* plugin = Instance::create(trial, host, {{"no_such_setting", "1"}}, true, &answer);
  if (plugin != nullptr) {
    trial.fail("create: the unknown setting \"no_such_setting\" was taken; a typing error would never be found");
    open_header(trial).destroy(plugin);
  } else {
    trial.expect(answer.status == BRIM_INVALID_ARGUMENT,
                 "create with an unknown setting: expected invalid argument, found {}", answer.text());
    trial.expect(std::string_view(answer.error.message).find("no_such_setting") != std::string_view::npos,
                 "create with an unknown setting: the message does not name it: {}", answer.text());
  }
  trial.expect(host.live_blocks() == 0, "leak: {} blocks of host memory are left after a create that failed",
               host.live_blocks());
  report_sins(trial, host);
}

void device_count(Trial& trial) {
  Host host;
  Instance instance(trial, host);
  Layer layer(trial, instance);
  uint32_t n = 77, again = 78;
  brim_str why{};
  must(trial, "device_count", layer.device_count(&n, &why));
  must(trial, "device_count without `why`", layer.device_count(&again, nullptr));
  trial.expect(why.ptr != nullptr || why.len == 0, "device_count: `why` is a text of {} bytes at no address", why.len);
  trial.expect(n == again, "device_count answers {} and then {}", n, again);
  trial.expect(n > 0 || !view(why).empty(), "device_count is 0 and `why` is empty: nobody learns what is missing");
  trial.note("{} devices", n);
}

void identity(Trial& trial) {
  const brim_plugin_query_fn query = open_query(trial);
  const brim_plugin_header* header = query(BRIM_ABI_MAJOR);
  if (header == nullptr || header->magic != BRIM_PLUGIN_MAGIC ||
      header->struct_size < offsetof(brim_plugin_header, create)) {
    trial.fail("the query gives no header that could be read");
    return;
  }
  trial.record("kind", std::to_string(header->kind));
  trial.record("id", std::string(view(header->id)));
  trial.record("version", std::string(view(header->version)));
}

}  // namespace

const Test& identity_test() {
  static const Test test = {"identify", "", 0, 30, identity};
  return test;
}

void add_load_tests(std::vector<Test>& tests) {
  tests.insert(
      tests.end(),
      {{"load.exports", "The library exports brim_plugin_query and nothing else", 0, 20, exports},
       {"load.manifest", "What the manifest promises is what the library says", 0, 20, manifest},
       {"load.query-pure", "Opening and asking start no thread, open no file, read no environment, allocate nothing", 0,
        20, query_is_pure},
       {"load.header", "The header's numbers and texts make sense", 0, 20, header_is_sane},
       {"load.wrong-major", "A host of another major is answered NULL or a header that says which it has", 0, 20,
        wrong_major},
       {"load.build-flags", "Sanitizers in the code are told in build_flags", 0, 20, build_flags},
       {"load.create-100", "100 instances come and go and leave nothing behind", 0, 60, create_many},
       {"load.two-instances", "Two instances in a process do not know each other", 0, 30, two_instances},
       {"load.create-threads", "Instances can be made on several threads at once", 0, 60, create_from_threads},
       {"load.newer-host", "A host with larger structs and a newer minor is served", 0, 30, newer_host},
       {"load.older-host", "A host of the oldest minor, with a shorter table of services, is served", 0, 30,
        older_host},
       {"load.interfaces", "get_interface knows its own name exactly, and no other", 0, 20, interfaces},
       {"load.unknown-setting", "A setting that does not exist is refused by name", 0, 20, unknown_setting},
       {"load.device-count", "device_count is steady, and 0 has a reason", kBackends, 20, device_count}});
}

}  // namespace check
