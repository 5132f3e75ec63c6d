// What the machine must not let pass, in PTX written for it: each mistake is found and named by kernel, line and
// thread.
#include <algorithm>
#include <array>

#include "device.hpp"
#include "ptx/lanes.hpp"

using namespace ptx_test;

namespace {

// A kernel of one parameter, an address in %rd1, thread in %r1, its word in %rd2.
std::string kernel(const std::string& body, const std::string& variables = "") {
  return ".version 9.0\n.target sm_75\n.address_size 64\n.visible .entry k(.param .u64 k_param_0)\n{\n"
         ".reg .pred %p<9>;\n.reg .b16 %rs<9>;\n.reg .b32 %r<20>;\n.reg .b64 %rd<9>;\n.reg .f32 %f<9>;\n" +
         variables +
         "ld.param.u64 %rd1, [k_param_0];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd3, %r1, 4;\nadd.s64 %rd2, %rd1, "
         "%rd3;\n" +
         body + "\nret;\n}\n";
}

std::string fault_of(const std::string& text, uint32_t threads = 64, bool reversed = false) {
  Device device(text);
  device.options.reversed = reversed;
  return device.fault("k", {}, {threads}, device.allocate(256));
}

bool says(const std::string& fault, const char* what) { return fault.find(what) != std::string::npos; }

const char* const kShared = ".shared .align 4 .b8 s[256];\n.shared .align 8 .b8 other[64];\n";
const std::string kToShared =
    "shl.b32 %r2, %r1, 2;\nmov.u32 %r3, s;\nadd.s32 %r4, %r3, %r2;\nst.shared.u32 [%r4], %r1;\n";
// Reads what the thread 32 further on wrote.
const std::string kFromOther =
    "xor.b32 %r5, %r1, 32;\nshl.b32 %r6, %r5, 2;\nadd.s32 %r7, %r3, %r6;\nld.shared.u32 %r8, [%r7];\n"
    "st.global.u32 [%rd2], %r8;\n";

}  // namespace

TEST_CASE("a kernel without a mistake runs, whatever the order of its warps") {
  for (const bool reversed : {false, true}) {
    Device device(kernel(kToShared + "bar.sync 0;\n" + kFromOther, kShared));
    device.options.reversed = reversed;
    const uint64_t out = device.allocate(256);
    CHECK(device.fault("k", {}, {64}, out) == "");
    const auto got = device.download<uint32_t>(out, 64);
    for (uint32_t i = 0; i < 64; ++i) CHECK(got[i] == (i ^ 32));
  }
}

TEST_CASE("a missing barrier is found in every order: as a race, or as a read of what nobody wrote") {
  for (const bool reversed : {false, true}) {
    const std::string fault = fault_of(kernel(kToShared + kFromOther, kShared), 64, reversed);
    CHECK_MESSAGE(says(fault, "shared memory at"), fault);
  }
  // Written again while others may still read.
  const std::string own = "ld.shared.u32 %r8, [%r4];\n", all = "ld.shared.u32 %r8, [s];\n";
  const std::string clear = "bar.sync 0;\n" + all + "st.shared.u32 [%r4], %r1;\n";
  const std::string again = fault_of(kernel(kToShared + clear, kShared));
  CHECK_MESSAGE(says(again, "read since the last barrier"), again);
  CHECK(fault_of(kernel(kToShared + "bar.sync 0;\n" + own + "st.shared.u32 [%r4], %r1;\n", kShared)) == "");
  // Lanes of one warp need their own barrier.
  const std::string lanes =
      "xor.b32 %r5, %r1, 1;\nshl.b32 %r6, %r5, 2;\nadd.s32 %r7, %r3, %r6;\nld.shared.u32 %r8, [%r7];\n";
  CHECK(says(fault_of(kernel(kToShared + lanes, kShared), 32), "wrote since the last barrier"));
  CHECK(fault_of(kernel(kToShared + "bar.warp.sync -1;\n" + lanes, kShared), 32) == "");
}

TEST_CASE("global memory that one thread writes and another touches in the same launch is found") {
  const auto fault = [](const std::string& body, ptx::Shape grid, uint32_t threads, bool reversed = false) {
    Device device(kernel(body));
    device.options.reversed = reversed;
    return device.fault("k", grid, {threads}, device.allocate(256));
  };
  const std::string own = "st.global.u32 [%rd2], %r1;\nld.global.u32 %r2, [%rd2];\nst.global.u32 [%rd2], %r2;\n";
  CHECK(fault(own, {1}, 64) == "");
  CHECK(says(fault(own, {2}, 64), "block (1, 0, 0), thread 0: writes global memory at"));
  CHECK(says(fault("st.global.u32 [%rd1], %r1;", {1}, 2), "thread 1: writes global memory at"));
  const std::string other = "xor.b32 %r5, %r1, 32;\nmul.wide.u32 %rd4, %r5, 4;\nadd.s64 %rd5, %rd1, %rd4;\n";
  const std::string write = "st.global.u32 [%rd2], %r1;\n", read = "ld.global.u32 %r2, [%rd5];\n";
  CHECK(says(fault(other + write + read, {1}, 64), "that thread 0 wrote since the last barrier"));
  CHECK(fault(other + write + "bar.sync 0;\n" + read, {1}, 64) == "");
  // A barrier is one of the block: the first reads what the second writes.
  const std::string one =
      "mov.u32 %r3, %ctaid.x;\nsetp.eq.s32 %p1, %r3, 0;\n@%p1 bra L;\n" + write + "ret;\nL:\nbar.sync 0;\n" + read;
  CHECK(fault(other + one, {2}, 64) == "");
  CHECK(says(fault(other + one, {2}, 64, true), "of block 1 wrote"));
}

TEST_CASE("a kernel that runs on is ended where a limit is set, and what it ran is told") {
  Device device(kernel("setp.eq.s32 %p1, %r1, 0;\n@%p1 bra M;\nL:\nbra L;\nM:"));
  std::vector<uint8_t> reached(device.module->kernels.at("k").code.size());
  device.options.reached = reached.data();
  CHECK(device.fault("k", {}, {1}, uint64_t{0}) == "");
  CHECK(std::ranges::count(reached, 0) == 2);  // the jump without an end, and what ends a body that does not return
  device.options.most_instructions = 1000;
  CHECK(says(device.fault("k", {}, {2}, uint64_t{0}), "runs on without an end"));
}

TEST_CASE("what was never written is not read") {
  CHECK(says(fault_of(kernel("add.s32 %r2, %r1, %r9;")), "register that was never written"));
  CHECK(says(fault_of(kernel("setp.eq.s32 %p1, %r1, 3;\n@%p1 mov.u32 %r2, 5;\nst.global.u32 [%rd2], %r2;")),
             "thread 0: reads a register"));
  CHECK(says(fault_of(kernel("@%p2 mov.u32 %r2, 5;")), "predicate that was never written"));
  CHECK(says(fault_of(kernel("ld.shared.u32 %r2, [s+8];", kShared)), "that nobody has written"));
  CHECK(says(fault_of(kernel("setp.eq.s32 %p1, %r1, 3;\n@%p1 bra L;\nmov.u32 %r2, 1;\nL:\nst.global.u32 [%rd2], %r2;")),
             "thread 3: reads a register"));
}

TEST_CASE("addresses outside of memory, or not aligned, are faults") {
  CHECK(says(fault_of(kernel("st.global.u32 [%rd2+256], %r1;")), "outside of every allocation"));
  CHECK(says(fault_of(kernel("st.global.u32 [%rd2], %r1;"), 96), "thread 64: writes 4 bytes"));
  CHECK(says(fault_of(kernel("ld.global.u32 %r2, [%rd2+2];")), "not aligned"));
  CHECK(says(fault_of(kernel("ld.global.v2.u32 {%r2, %r3}, [%rd2];")), "thread 1: an access of 8 bytes"));
  CHECK(says(fault_of(kernel("ld.shared.u32 %r2, [s+1000];", kShared)), "outside of the"));
  CHECK(says(fault_of(kernel("ld.param.u32 %r2, [k_param_0+8];")), "outside of the 8 bytes of the parameters"));
  Device device(kernel("st.global.u32 [%rd2], %r1;"));
  CHECK(says(device.fault("k", {}, {4}, device.allocate(64, true)), "read-only"));
}

TEST_CASE("barriers and shuffles that not all reach are faults") {
  const std::string low = "setp.lt.u32 %p1, %r1, 8;\n", low_warp = "setp.lt.u32 %p1, %r1, 32;\n";
  CHECK(says(fault_of(kernel(low + "@%p1 bra L;\nbar.sync 0;\nL:")), "barrier"));
  CHECK(says(fault_of(kernel(low_warp + "@%p1 bra L;\nbar.sync 0;\nL:")), "barrier"));
  CHECK(says(fault_of(kernel(low_warp + "@%p1 ret;\nbar.sync 0;")), "barrier"));
  CHECK(says(fault_of(kernel(low_warp + "@%p1 bra L;\nbar.sync 0;\nbra M;\nL:\nbar.sync 0;\nM:")), "barrier"));
  CHECK(says(fault_of(kernel(low + "@%p1 bra L;\nshfl.sync.bfly.b32 %r2, %r1, 1, 31, -1;\nL:")), "have ended"));
  CHECK(says(fault_of(kernel(low + "@%p1 bra L;\nshfl.sync.bfly.b32 %r2, %r1, 1, 31, -1;\nbra M;\nL:\n"
                                   "shfl.sync.bfly.b32 %r2, %r1, 1, 31, -1;\nM:")),
             "wait for each other"));
  CHECK(
      says(fault_of(kernel(low + "@%p1 bra L;\nshfl.sync.idx.b32 %r2, %r1, 0, 31, -256;\nL:")), "does not take part"));
  CHECK(fault_of(kernel(low + "@%p1 bra L;\nshfl.sync.bfly.b32 %r2, %r1, 1, 31, -256;\nL:"), 32) == "");
}

namespace {

// A dimension of a layout as CuTe writes it, ((4, 8), (4, 2, 2)) : ((64, 1), (16, 8, 256)): where value v of lane t
// lies.
struct Layout {
  std::array<uint32_t, 2> lane_stride;
  std::vector<std::array<uint32_t, 2>> values;  // size, stride
  uint32_t at(uint32_t lane, uint32_t v) const {
    uint32_t offset = lane % 4 * lane_stride[0] + lane / 4 * lane_stride[1];
    for (const auto& [size, stride] : values) {
      offset += v % size * stride;
      v /= size;
    }
    return offset;
  }
};
// The value as an element of so many bytes.
uint32_t value_bits(uint32_t bytes, bool bfloat, int value) {
  if (bytes == 1) return static_cast<uint8_t>(value);
  const uint32_t single = std::bit_cast<uint32_t>(static_cast<float>(value));
  return bfloat ? single >> 16 : ptx::float_to_half(static_cast<float>(value));
}

}  // namespace

TEST_CASE("mma takes and gives each element where the ISA and CuTe have it") {
  struct Shape {
    const char* name;
    uint32_t k, bytes;
    bool bfloat;
    Layout a, b;  // offsets m + 16 k and n + 8 k
  };
  const Shape shapes[] = {
      {"m16n8k32.row.col.s32.s8.s8.s32",
       32,
       1,
       false,
       {{64, 1}, {{4, 16}, {2, 8}, {2, 256}}},
       {{32, 1}, {{4, 8}, {2, 128}}}},
      {"m16n8k16.row.col.s32.s8.s8.s32", 16, 1, false, {{64, 1}, {{4, 16}, {2, 8}}}, {{32, 1}, {{4, 8}}}},
      {"m16n8k16.row.col.f32.f16.f16.f32",
       16,
       2,
       false,
       {{32, 1}, {{2, 16}, {2, 8}, {2, 128}}},
       {{16, 1}, {{2, 8}, {2, 64}}}},
      {"m16n8k16.row.col.f32.bf16.bf16.f32",
       16,
       2,
       true,
       {{32, 1}, {{2, 16}, {2, 8}, {2, 128}}},
       {{16, 1}, {{2, 8}, {2, 64}}}}};
  const Layout c{{32, 1}, {{2, 16}, {2, 8}}};  // m + 16 n
  for (const Shape& shape : shapes) {
    INFO(shape.name);
    const uint32_t each = 4 / shape.bytes, n_a = shape.k * 16 / 32 / each, n_b = shape.k * 8 / 32 / each;
    const auto a = [&](uint32_t at) { return static_cast<int>(at * 3 % 251) - 125; };
    const auto b = [&](uint32_t at) { return static_cast<int>(at * 7 % 241) - 120; };
    std::vector<uint32_t> words((n_a + n_b + 4) * 32);
    for (uint32_t lane = 0; lane < 32; ++lane) {
      for (uint32_t v = 0; v < n_a * each; ++v) {
        words[v / each * 32 + lane] |= value_bits(shape.bytes, shape.bfloat, a(shape.a.at(lane, v)))
                                       << 8 * shape.bytes * (v % each);
      }
      for (uint32_t v = 0; v < n_b * each; ++v) {
        words[(n_a + v / each) * 32 + lane] |= value_bits(shape.bytes, shape.bfloat, b(shape.b.at(lane, v)))
                                               << 8 * shape.bytes * (v % each);
      }
      for (uint32_t v = 0; v < 4; ++v) {
        const int value = static_cast<int>(1000 + c.at(lane, v));
        words[(n_a + n_b + v) * 32 + lane] =
            shape.bytes == 1 ? static_cast<uint32_t>(value) : std::bit_cast<uint32_t>(static_cast<float>(value));
      }
    }
    std::string body = ".reg .b32 %x<16>;\n", list[4];
    for (uint32_t r = 0; r < n_a + n_b + 4; ++r) {
      const std::string name = "%x" + std::to_string(r);
      body += "ld.global.u32 " + name + ", [%rd2+" + std::to_string(128 * r) + "];\n";
      std::string& to = list[r < n_a ? 1 : r < n_a + n_b ? 2 : 3];
      to += (to.empty() ? "{" : ", ") + name;
    }
    for (std::string& text : list) text += "}";
    body += "mma.sync.aligned." + std::string(shape.name) + " " + list[3] + ", " + list[1] + ", " + list[2] + ", " +
            list[3] + ";\n";
    for (uint32_t r = 0; r < 4; ++r) {
      body += "st.global.u32 [%rd2+" + std::to_string(128 * r) + "], %x" + std::to_string(n_a + n_b + r) + ";\n";
    }
    Device device(kernel(body));
    const uint64_t at = device.upload(words);
    REQUIRE(device.fault("k", {}, {32}, at) == "");
    const auto got = device.download<uint32_t>(at, 128);
    for (uint32_t lane = 0; lane < 32; ++lane) {
      for (uint32_t v = 0; v < 4; ++v) {
        const uint32_t to = c.at(lane, v), m = to % 16, n = to / 16;
        int wanted = static_cast<int>(1000 + to);
        for (uint32_t k = 0; k < shape.k; ++k) wanted += a(m + 16 * k) * b(n + 8 * k);
        const uint32_t bits = got[v * 32 + lane];
        CHECK((shape.bytes == 1 ? static_cast<int>(bits) : static_cast<int>(std::bit_cast<float>(bits))) == wanted);
      }
    }
  }
  CHECK(says(fault_of(kernel("setp.lt.u32 %p1, %r1, 8;\n@%p1 bra L;\n.reg .b32 %x<4>;\nmov.b32 %x0, 0;\n"
                             "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%x0, %x0, %x0, %x0}, {%x0, %x0}, {%x0}, "
                             "{%x0, %x0, %x0, %x0};\nL:"),
                      32),
             "have ended"));
}

TEST_CASE("ldmatrix gives each lane its part of the rows that the lanes point at") {
  // Row r of 16 bytes has the words 4 r to 4 r + 3; lane l points at row 31 - l.
  const std::string body =
      ".reg .b32 %x<8>;\nmov.u32 %x0, s;\nshl.b32 %x1, %r1, 4;\nadd.s32 %x1, %x0, %x1;\nshl.b32 %x2, %r1, 2;\n"
      "st.shared.u32 [%x1], %x2;\nadd.s32 %x3, %x2, 1;\nst.shared.u32 [%x1+4], %x3;\nadd.s32 %x3, %x2, 2;\n"
      "st.shared.u32 [%x1+8], %x3;\nadd.s32 %x3, %x2, 3;\nst.shared.u32 [%x1+12], %x3;\nbar.sync 0;\n"
      "sub.s32 %x3, 31, %r1;\nshl.b32 %x3, %x3, 4;\nadd.s32 %x3, %x0, %x3;\n";
  const std::string load = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%x4, %x5, %x6, %x7}, [%x3];\n";
  const std::string store =
      "st.global.u32 [%rd2], %x4;\nst.global.u32 [%rd2+128], %x5;\nst.global.u32 [%rd2+256], %x6;\n"
      "st.global.u32 [%rd2+384], %x7;\n";
  const char* const shared = ".shared .align 16 .b8 s[512];\n";
  Device device(kernel(body + load + store, shared));
  const uint64_t out = device.allocate(512);
  REQUIRE(device.fault("k", {}, {32}, out) == "");
  const auto got = device.download<uint32_t>(out, 128);
  for (uint32_t matrix = 0; matrix < 4; ++matrix) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      CHECK(got[32 * matrix + lane] == 4 * (31 - (8 * matrix + lane / 4)) + lane % 4);
    }
  }
  // Transposed: CuTe's layout of SM75_U16x8_LDSM_T from lane and value to an element of the matrices, row after row.
  const Layout transposed{{16, 1}, {{2, 8}, {4, 64}}};
  std::string load_transposed = load;
  load_transposed.insert(load_transposed.find(".shared"), ".trans");
  Device other(kernel(body + load_transposed + store, shared));
  const uint64_t to = other.allocate(512);
  REQUIRE(other.fault("k", {}, {32}, to) == "");
  const auto pairs = other.download<uint16_t>(to, 256);
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t v = 0; v < 8; ++v) {
      const uint32_t at = transposed.at(lane, v), row = at / 8, column = at % 8;
      CHECK(pairs[64 * (v / 2) + 2 * lane + v % 2] == (column % 2 == 0 ? 4 * (31 - row) + column / 2 : 0));
    }
  }
  CHECK(says(fault_of(kernel(body + "add.s32 %x3, %x3, 8;\n" + load + store, shared), 32), "not aligned"));
  std::string raced = body;
  raced.erase(raced.find("bar.sync 0;\n"), 12);
  CHECK(says(fault_of(kernel(raced + load + store, shared), 32), "wrote since the last barrier"));
}

TEST_CASE("what cp.async copies is there once its thread has waited, and for others behind a barrier") {
  const char* const shared = ".shared .align 16 .b8 s[512];\n";
  // Eight bytes a thread, of the words that the test uploads.
  const std::string copy =
      "shl.b32 %r2, %r1, 3;\nmov.u32 %r3, s;\nadd.s32 %r4, %r3, %r2;\nmul.wide.u32 %rd4, %r1, 8;\n"
      "add.s64 %rd5, %rd1, %rd4;\ncp.async.ca.shared.global [%r4], [%rd5], 8;\ncp.async.commit_group;\n";
  const std::string wait = "cp.async.wait_group 0;\n", read = "ld.shared.u32 %r8, [%r4+4];\n";
  const std::string other = "xor.b32 %r5, %r1, 32;\nshl.b32 %r6, %r5, 3;\nadd.s32 %r7, %r3, %r6;\n";
  const std::string read_other = "ld.shared.u32 %r8, [%r7+4];\n", store = "st.global.u32 [%rd2+512], %r8;\n";
  const auto fault = [&](const std::string& body) {
    Device device(kernel(body, shared));
    return device.fault("k", {}, {64}, device.allocate(1024));
  };
  std::vector<uint32_t> words(256);
  for (uint32_t i = 0; i < 256; ++i) words[i] = 7 * i;
  Device device(kernel(copy + other + wait + "bar.sync 0;\n" + read_other + store, shared));
  const uint64_t at = device.upload(words);
  REQUIRE(device.fault("k", {}, {64}, at) == "");
  const auto got = device.download<uint32_t>(at + 512, 64);
  for (uint32_t i = 0; i < 64; ++i) CHECK(got[i] == 7 * (2 * (i ^ 32) + 1));
  CHECK(fault(copy + wait + read + store) == "");
  CHECK(says(fault(copy + read + store), "copies without having waited for it"));
  CHECK(says(fault(copy + "cp.async.wait_group 1;\n" + read + store), "copies without having waited"));
  CHECK(fault(copy + "cp.async.commit_group;\ncp.async.wait_group 1;\n" + read + store) == "");
  CHECK(says(fault(copy + "st.shared.u32 [%r4], %r1;\n"), "copies without having waited"));
  CHECK(says(fault(copy + other + wait + read_other + store), "shared memory at"));  // no barrier
  CHECK(says(fault(copy + other + "bar.sync 0;\n" + read_other + store), "copies without having waited"));
  CHECK(says(fault("mov.u32 %r3, s;\ncp.async.cg.shared.global [%r3], [%rd1+4096], 16;\n"), "outside of every"));
}

TEST_CASE("what the machine does not know is an error and not a guess") {
  const auto unknown = [](const std::string& text) {
    try {
      Device device(text);
      return std::string();
    } catch (const ptx::Fault& fault) {
      return std::string(fault.what());
    }
  };
  CHECK(says(unknown(kernel("frobnicate.u32 %r2, %r1;")), "line 15: this machine does not know frobnicate.u32"));
  CHECK(says(unknown(kernel("add.ftz.f32 %f1, %f1, %f2;")), "does not know add.ftz.f32"));
  CHECK(says(unknown(kernel("ld.global.v2.u32 %r2, [%rd2];")), "does not know ld.global.v2.u32"));
  CHECK(says(unknown(kernel("add.s32 %r2, %r1, %rd1;")), "does not know add.s32"));
  CHECK(says(unknown(kernel("add.s32 %r2, %r1, %r77;")), "no register %r77"));
  CHECK(says(unknown(kernel("bra NOWHERE;")), "no label NOWHERE"));
  CHECK(says(unknown(kernel("", ".frob .b32 x;\n")), "unknown directive"));
}
