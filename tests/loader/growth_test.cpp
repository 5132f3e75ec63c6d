// Old and new meet: a plugin built today and one built against grown headers (tests/fakes/growth.cmake), each with this
// host. The file is compiled twice, against today's headers and, with GROWN_HOST, against the grown ones, so all four
// pairs are run. What the newer side has at its tails must neither be read nor written by the older one.
#include <doctest/doctest.h>

#include <cstring>
#include <topology/topology.hpp>

#include "plugin_folders.hpp"

using brim::loader::Loader;

namespace {

#if defined(GROWN_HOST)
constexpr bool kGrownHost = true;
static_assert(BRIM_ABI_MINOR == 1000);
#else
constexpr bool kGrownHost = false;
#endif

// The tail of a struct: what the older side did not send reads as zero, what the newer sent as it was sent.
template <class T>
uint64_t tail(const T& sent, [[maybe_unused]] uint64_t otherwise) {
  if constexpr (requires { sent.grown; })
    return sent.grown;
  else
    return otherwise;
}

}  // namespace

TEST_CASE("architectures of both ages are taken and read settings through their stride") {
  for (const bool grown : {false, true}) {
    CAPTURE(grown);
    Records records;
    auto config = config_for({built(grown ? "grown" : "good")});
    config.log = records.log();
    config.settings["test.fake"] = {{"say", "hello"}};
    {
      const Loader loader(config);
      REQUIRE_MESSAGE(loader.architectures().size() == 1, loader.candidates()[0].reason);
      const auto& a = *loader.architectures()[0];
      CHECK(a.plugin->minor() == (grown ? 1000 : 1));
      CHECK(a.api.struct_size == sizeof(brim_architecture));
      CHECK(tail(a.api, 0) == (grown && kGrownHost ? ~0ull : 0));
      std::vector<std::string> said;
      for (const auto& record : records.all)
        if (record.source == "test.fake") said.push_back(record.text);
      REQUIRE(said.size() == (grown ? 2 : 1));
      CHECK(said[0] == "hello");
      if (grown) CHECK(said[1] == (kGrownHost ? "the host has grown" : "the host is older"));
    }
    CHECK(records.find(BRIM_LOG_PLUGIN_MISUSE, "test.fake").empty());
  }
}

TEST_CASE("backends of all ages bring the same devices") {
  for (const std::string which : {"device", "device_grown", "device_shrunk"}) {
    CAPTURE(which);
    const Loader loader(config_for({built(which)}));
    REQUIRE_MESSAGE(loader.backends().size() == 1, loader.candidates()[0].reason);
    const auto& b = *loader.backends()[0];
    const bool grown = which == "device_grown";
    CHECK(tail(b.api, 0) == (grown && kGrownHost ? ~0ull : 0));
    CHECK_FALSE(static_cast<bool>(b.api.fence_export));  // the shrunk one has bytes there, behind its end
    // The table of ops, element by element of the plugin's own size.
    REQUIRE(b.caps.size() == 2);
    CHECK(b.caps[0].op == BRIM_OP_COPY);
    CHECK(b.caps[1].op == BRIM_OP_BINARY);
    CHECK(b.caps[1].features == 3);

    const auto t = brim::topology::detect(loader);
    REQUIRE(t.devices.size() == 2);
    CHECK(t.refusals.empty());
    CHECK(t.devices[1].name == "fake card");
    CHECK(tail(t.devices[1].info, 0) == (grown && kGrownHost ? ~0ull : 0));
    REQUIRE(t.devices[1].heaps.size() == 2);
    CHECK(t.devices[1].heaps[0].info.size == 1000ull << 20);
    CHECK(tail(t.devices[1].heaps[0].info, 0) == (grown && kGrownHost ? ~0ull : 0));
  }
}
