// Saved sequences: brim_sequence_restore of any bytes. The first byte says whether the rest gets the checksum that
// belongs to it, so that what lies behind the checksum is reached too. What is refused leaves nothing behind; what is
// restored is saved again as the same bytes and goes on.
#include <base/hash.hpp>
#include <vector>

#include "host.hpp"
#include "tiny_session.hpp"

using namespace brim::fuzz;

namespace {

std::string save(brim_session* session, uint32_t sequence) {
  std::string out;
  const auto write = [](void* user, const void* data, uint64_t bytes) -> uint32_t {
    static_cast<std::string*>(user)->append(static_cast<const char*>(data), bytes);
    return 0;
  };
  must([&](brim_error* e) { return brim_sequence_save(session, sequence, write, &out, e); });
  return out;
}

brim_status restore(brim_session* session, std::string_view bytes, uint32_t* out) {
  const auto read = [](void* user, void* data, uint64_t n) -> uint32_t {
    auto& rest = *static_cast<std::string_view*>(user);
    if (n > rest.size()) return 1;
    std::memcpy(data, rest.data(), n);
    rest.remove_prefix(n);
    return 0;
  };
  return call([&](brim_error* e) { return brim_sequence_restore(session, read, &bytes, out, e); });
}

void go_on(brim_session* session, uint32_t sequence) {
  brim_row row{};
  row.token = 5;
  row.sequence = sequence;
  row.outputs = 1u << BRIM_OUTPUT_LOGITS;
  brim_step step{};
  step.struct_size = sizeof(step);
  step.n_rows = 1;
  step.rows = &row;
  step.row_stride = sizeof(row);
  const brim_status status = call([&](brim_error* e) { return brim_session_step(session, &step, e); });
  expect(status == BRIM_OK || status == BRIM_CONTEXT_FULL, "a restored sequence goes on");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static brim_session* const session = tiny_session();
  Input in(data, size);
  const bool with_checksum = in.flag();
  std::string bytes(size ? text_of(data + 1, size - 1) : std::string_view());
  if (with_checksum) {
    const brim::Hash128 sum = brim::Hasher().add(std::as_bytes(std::span(bytes))).result();
    bytes.append(reinterpret_cast<const char*>(&sum), sizeof(sum));
  }
  uint32_t sequence = 0;
  if (restore(session, bytes, &sequence) == BRIM_OK) {
    uint32_t length = 0;
    must([&](brim_error* e) { return brim_sequence_length(session, sequence, &length, e); });
    const std::string again = save(session, sequence);
    expect(std::string_view(bytes).starts_with(again), "what is restored is saved as the same bytes");
    go_on(session, sequence);
    must([&](brim_error* e) { return brim_sequence_remove(session, sequence, e); });
  }
  // Both sequences of the plan are free.
  uint32_t both[2];
  for (uint32_t& s : both) {
    must([&](brim_error* e) { return brim_sequence_create(session, &s, e); });
  }
  for (const uint32_t s : both) {
    must([&](brim_error* e) { return brim_sequence_remove(session, s, e); });
  }
  return 0;
}
