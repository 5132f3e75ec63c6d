#include <fmt/format.h>

#include <base/error.hpp>
#include <boost/dll/shared_library.hpp>
#include <loader/handshake.hpp>
#include <loader/image.hpp>
#include <loader/paths.hpp>
#include <map>
#include <mutex>
#include <string_view>
#include <type_traits>
#include <utility>

namespace brim::loader {
namespace {

#if defined(__has_feature)
#define BRIM_HAS_FEATURE(name) __has_feature(name)
#else
#define BRIM_HAS_FEATURE(name) 0
#endif

// The bytes of a header that every version has.
constexpr uint32_t kFrozenBytes = offsetof(brim_plugin_header, reserved0);

// Libraries stay open until the process ends, whoever opened them: never destroyed.
struct OpenLibraries {
  std::mutex mutex;
  std::map<std::string, boost::dll::shared_library> by_path;
};
OpenLibraries& open_libraries() {
  static OpenLibraries& all = *new OpenLibraries;
  return all;
}

std::string flag_names(uint32_t flags) {
  std::string out;
  for (const auto& [flag, name] :
       {std::pair{BRIM_BUILD_ASAN, "address sanitizer"}, std::pair{BRIM_BUILD_TSAN, "thread sanitizer"},
        std::pair{BRIM_BUILD_DEBUG, "debug"}})
    if (flags & flag) out += (out.empty() ? "" : ", ") + std::string(name);
  return out.empty() ? "none" : out;
}

// What a system loader says, without the parts that Boost puts around it.
std::string loader_words(const std::exception& e) {
  std::string words = e.what();
  const std::string_view intro = "(dlerror system message: ";
  if (const size_t at = words.find(intro); at != std::string::npos) {
    words.erase(0, at + intro.size());
    if (const size_t end = words.rfind(')'); end != std::string::npos) words.erase(end);
  }
  return words;
}

}  // namespace

uint32_t host_build_flags() noexcept {
  uint32_t flags = 0;
#if defined(__SANITIZE_ADDRESS__) || BRIM_HAS_FEATURE(address_sanitizer)
  flags |= BRIM_BUILD_ASAN;
#endif
#if defined(__SANITIZE_THREAD__) || BRIM_HAS_FEATURE(thread_sanitizer)
  flags |= BRIM_BUILD_TSAN;
#endif
#if !defined(NDEBUG)
  flags |= BRIM_BUILD_DEBUG;
#endif
  return flags;
}

std::string_view kind_name(uint32_t kind) noexcept {
  switch (kind) {
    case BRIM_KIND_BACKEND:
      return "backend";
    case BRIM_KIND_ARCHITECTURE:
      return "architecture";
    default:
      return "";
  }
}

brim_plugin_query_fn open_library(const std::string& path) {
  check_image(path);
  OpenLibraries& all = open_libraries();
  const std::lock_guard lock(all.mutex);
  auto found = all.by_path.find(path);
  if (found == all.by_path.end()) {
    boost::dll::shared_library library;
    try {
      using namespace boost::dll::load_mode;
      library.load(from_utf8(path), rtld_now | rtld_local | load_with_altered_search_path);
    } catch (const std::exception& e) {
      throw Error(BRIM_DATA_CORRUPT,
                  fmt::format("cannot open the library '{}': {}; install what it needs, or the plugin anew", path,
                              loader_words(e)),
                  {}, 0, BRIM_DOMAIN_OS);
    }
    found = all.by_path.emplace(path, std::move(library)).first;
  }
  const boost::dll::shared_library& library = found->second;
  if (!library.has(BRIM_PLUGIN_QUERY_SYMBOL))
    fail(BRIM_INCOMPATIBLE, "the library '{}' is no Brim plugin: it exports no {}; take its manifest away", path,
         BRIM_PLUGIN_QUERY_SYMBOL);
  return &library.get<std::remove_pointer_t<brim_plugin_query_fn>>(BRIM_PLUGIN_QUERY_SYMBOL);
}

const brim_plugin_header& shake_hands(brim_plugin_query_fn query, const Promise& promise, const std::string& name) {
  const brim_plugin_header* const header = query ? query(BRIM_ABI_MAJOR) : nullptr;
  if (!header)
    fail(BRIM_INCOMPATIBLE, "{}: its query answers nothing for ABI major {}; install a build for this version of Brim",
         name, BRIM_ABI_MAJOR);
  if (header->magic != BRIM_PLUGIN_MAGIC)
    fail(BRIM_DATA_CORRUPT, "{}: expected the magic {:#010x}, found {:#010x}; it is no Brim plugin", name,
         BRIM_PLUGIN_MAGIC, header->magic);
  if (header->struct_size < kFrozenBytes)
    fail(BRIM_DATA_CORRUPT, "{}: its header says that it has {} bytes, every version has at least {}; it is damaged",
         name, header->struct_size, kFrozenBytes);
  if (header->major != BRIM_ABI_MAJOR)
    fail(BRIM_INCOMPATIBLE, "{}: expected ABI major {}, found {}; install a build of it for this version of Brim", name,
         BRIM_ABI_MAJOR, header->major);
  if (header->min_minor > BRIM_ABI_MINOR)
    fail(BRIM_INCOMPATIBLE, "{}: needs ABI minor {} or newer, this host has {}; update Brim or install an older plugin",
         name, header->min_minor, BRIM_ABI_MINOR);
  if (!BRIM_HAS(header, brim_plugin_header, get_interface))
    fail(BRIM_DATA_CORRUPT, "{}: its header has {} bytes, ABI {}.{} needs at least {}; it is damaged", name,
         header->struct_size, BRIM_ABI_MAJOR, header->minor, BRIM_SIZE_THROUGH(brim_plugin_header, get_interface));
  constexpr uint32_t kSanitizers = BRIM_BUILD_ASAN | BRIM_BUILD_TSAN;
  if (const uint32_t lacking = header->build_flags & kSanitizers & ~host_build_flags())
    fail(BRIM_INCOMPATIBLE, "{}: was built with {}, this host was not (its flags: {}); install a plain build of it",
         name, flag_names(lacking), flag_names(host_build_flags() & kSanitizers));
  const std::string_view kind = kind_name(header->kind);
  if (kind.empty())
    fail(BRIM_UNSUPPORTED, "{}: is of kind {}, this host knows 1 (backend) and 2 (architecture); update Brim", name,
         header->kind);
  if (!promise.kind.empty() && kind != promise.kind)
    fail(BRIM_DATA_CORRUPT,
         "{}: its manifest lies: kind \"{}\" promised, the library is of kind \"{}\"; install it anew", name,
         promise.kind, kind);
  const std::string_view id = view(header->id);
  if (id.empty()) fail(BRIM_DATA_CORRUPT, "{}: its header has no id; it is damaged", name);
  if (!promise.id.empty() && id != promise.id)
    fail(BRIM_DATA_CORRUPT, "{}: its manifest lies: id \"{}\" promised, the library is \"{}\"; install it anew", name,
         promise.id, id);
  const char* missing = !header->create          ? "create"
                        : !header->destroy       ? "destroy"
                        : !header->get_interface ? "get_interface"
                                                 : nullptr;
  if (missing)
    fail(BRIM_INCOMPATIBLE, "{}: the required function '{}' of its header is NULL; tell its author", name, missing);
  return *header;
}

}  // namespace brim::loader
