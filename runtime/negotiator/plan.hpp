// The negotiator's answer: which device computes what, where every tensor and state lives, how it gets there, how many
// bytes that takes in each physical memory, and why. Loading consumes this object and allocates what it says, to the
// byte; so the estimate and the reality cannot drift apart.
#pragma once

#include <brim/brim.h>

#include <graph/memory_plan.hpp>
#include <graph/partition.hpp>
#include <graph/step_layout.hpp>
#include <map>
#include <negotiator/open_model.hpp>
#include <negotiator/work.hpp>
#include <string>
#include <vector>

namespace brim::negotiator {

inline constexpr uint32_t kNoGroup = 0xffffffffu;
// Compiled programs that are kept; the least recently used goes first.
inline constexpr uint32_t kProgramsKept = 64;
// Conv and recurrent states: the slot from before a step of several chunks, the one just written, and the next to
// write; so a step that is cancelled anywhere changes nothing.
inline constexpr uint32_t kSlotsPerSequence = 3;
// Weights come from the file in pieces of whole rows, of about so many bytes; cancel and progress come between them.
inline constexpr uint64_t kLoadPiece = 8ull << 20;
inline constexpr uint64_t rows_of_piece(uint64_t row_bytes) {
  return row_bytes < kLoadPiece ? kLoadPiece / row_bytes : 1;
}
// A mapped file is imported by windows of at most the heap's max_alloc, which begin on such borders: a multiple of what
// systems call a page and of what devices ask of imported memory.
inline constexpr uint64_t kWindowBorder = 65536;
// Weights that are copied lie one behind the other, each on such a border.
inline constexpr uint64_t align_weight(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

struct Placement {
  uint32_t device;  // of the topology
  uint32_t first_layer, n_layers;
};

struct PoolLimit {
  uint32_t pool;
  uint64_t bytes;
};

// What the machine will mostly do: tokens of prompts against tokens of answers.
enum class Mix { kChat, kAgent, kBatch };  // 512/256, 16384/1024, 2048/256
const char* mix_name(Mix mix);

// What the host asked for; 0 means the default that brim.h names.
struct Request {
  uint32_t n_ctx = 0, n_seqs = 0, n_batch = 0;
  uint64_t kv_tokens = 0;
  uint32_t kv_dtype = 0;
  uint32_t numerics = BRIM_NUMERICS_FAST;
  uint32_t load = 0;     // BRIM_LOAD_*
  uint64_t outputs = 0;  // bits (1 << BRIM_OUTPUT_*)
  uint64_t inputs = 0;   // bits (1 << BRIM_INPUT_EMBEDDING)
  bool unsafe_overcommit = false;
  Mix mix = Mix::kChat;
  // What a plan may go down to where the request does not fit; 0: nothing is lowered.
  uint32_t kv_least = 0;   // BRIM_DTYPE_F16 or Q8_0
  uint32_t ctx_least = 0;  // tokens
  std::vector<Placement> placements;
  std::vector<PoolLimit> limits;
};

struct Decision {
  std::string what, choice, because;
};

// A way that was not taken.
struct Rejected {
  std::string what, because;
  double relative = 0;  // its predicted time to the plan's; 0: it does not fit, or nothing is known
};

// What the plan would be with less quality.
struct Rung {
  std::string what;        // "kv_dtype q8_0"
  uint64_t kv_bytes = 0;   // instead of the plan's
  double decode_full = 0;  // tokens/s at a full context; 0 unknown
};

// Tokens/s of one sequence.
struct Prediction {
  bool known = false;
  double decode = 0, low = 0, high = 0;  // at an empty context; nine of ten measurements lie between low and high
  double decode_full = 0;                // at a full one
  double prefill = 0;
  Provenance provenance = Provenance::kLearned;  // the least certain that went into it
};

// A device that takes part; the numbers of `devices` below are positions in Plan::devices.
struct DevicePlan {
  uint32_t device = 0;      // of the topology
  uint32_t local_heap = 0;  // for weights, states, arena, workspace
  uint32_t host_heap = 0;   // host-visible: step block, outputs, embeddings
  std::vector<uint32_t> layers;
  uint64_t arena_bytes = 0, outputs_bytes = 0, embedding_bytes = 0, staging_bytes = 0, workspace_bytes = 0,
           programs_bytes = 0, step_bytes = 0;
  bool direct = false;  // weights are read past the system's file cache
  // Staging memory in host_heap that goes when the weights are in: so many pieces, each of which may be on its way.
  uint64_t loading_bytes = 0;
  uint32_t loading_slots = 0;
};

enum class Residence { kMapped, kCopied, kPacked };

// A weight on a device. A weight that two devices use is there twice.
struct WeightPlan {
  uint32_t weight = 0;  // in Description::weights
  uint32_t device = 0;
  Residence residence = Residence::kCopied;
  uint64_t bytes = 0;  // that it takes in that residence
  uint64_t layout_id = 0;
};

struct StatePlan {
  uint32_t device = 0;
  uint32_t dtype = 0;
  uint32_t group = kNoGroup;
  brim_state_layout layout{};
  uint32_t storage = 0;  // the state whose buffer this one uses; itself unless it shares
  uint32_t n_blocks = 0;
  uint64_t bytes = 0;  // 0 where it shares
};

// Blocks that are kept behind a window, so that a sequence can always go back by a block of tokens.
inline constexpr uint32_t kBlocksBehindWindow = 1;

// States of one kind and window whose blocks hold equally many tokens share block tables. With a window, blocks that no
// row to come can see are given back: a sequence holds what its next rows see and, while a job is under way, what they
// would see if it had to go back to the job's beginning.
struct GroupPlan {
  uint32_t kind = 0, window = 0;  // 0: everything is seen
  uint32_t block_tokens = 0;
  uint32_t max_blocks = 0;  // that the rows of one step see of a sequence
  uint32_t n_blocks = 0;    // of all sequences together
  // The first token that the row at that place of a sequence sees.
  uint32_t first_seen(uint32_t index) const { return window != 0 && index >= window ? index - window + 1 : 0; }
  graph::GroupShape shape() const { return {max_blocks, block_tokens}; }
};

// A graph with the devices of its nodes and all that follows from them.
struct Variant {
  uint32_t phase = 0;
  bool embeddings = false;
  std::shared_ptr<const graph::Graph> graph;
  std::vector<uint32_t> device_of;  // per node
  std::vector<graph::Segment> segments;
  std::vector<graph::DeviceMemory> memory;  // per device, for the largest bucket
};

struct PoolCharge {
  uint32_t pool = 0;
  uint64_t weights = 0, mapped = 0, kv = 0, activations = 0, workspace = 0, step = 0, available = 0;
  uint64_t loading = 0;  // besides, until the weights are in
  // When the plan was made: what it could use, what other loads were promised, and what stays free at every moment.
  uint64_t room = 0, promised = 0, reserve = 0, floor = 0;
  std::vector<topology::Reading> readings;
  uint32_t binding = topology::kNoReading;
  uint64_t total() const { return weights + kv + activations + workspace + step; }
  uint64_t planned() const { return total() + mapped; }
  uint64_t peak() const { return planned() + loading; }
};

struct Plan {
  std::shared_ptr<const OpenModel> model;
  Request asked;    // by the host
  Request request;  // with every default filled in, and lowered as far as it took
  std::vector<DevicePlan> devices;
  std::vector<WeightPlan> weights;
  std::vector<StatePlan> states;  // as in Description::states
  std::vector<GroupPlan> groups;
  std::vector<Variant> variants;     // prefill, decode; the same with embeddings where they were asked for
  std::vector<brim_bucket> buckets;  // by ascending n_tokens, all with the largest n_kv
  bool any_kv = true;                // no device's programs depend on n_kv
  std::vector<PoolCharge> pools;
  std::vector<Decision> decisions;
  std::vector<Rejected> rejected;
  std::vector<Rung> next_rungs;
  uint64_t bytes_per_token = 0, kv_bytes_per_token = 0;
  Prediction predicted;

  // The embedding, each layer and the head: what they cost, their devices of the topology, and whether their experts
  // are apart, on `home`.
  std::vector<ItemWork> works;
  std::vector<uint32_t> item_device;
  std::vector<bool> apart;
  uint32_t home = 0;
  // Bytes per pool of the topology that the choice of devices reckoned with, and what it lacked when it was made
  // before.
  std::vector<uint64_t> estimated;
  std::vector<int64_t> correction;

  const topology::Device& device(uint32_t i) const { return model->machine->topology.devices[devices[i].device]; }
  const Variant& variant(uint32_t phase, bool embeddings) const;
  // The smallest bucket for a step of so many rows that see at most n_kv tokens.
  brim_bucket bucket(uint32_t n_tokens, uint32_t n_kv) const;
  // Whether the weight passes through the loading buffer of its device on its way there.
  bool staged(const WeightPlan& weight) const;
  // Most rows of one step that may want outputs.
  uint32_t max_outputs() const { return buckets.back().n_outputs; }
};

// Throws INVALID_ARGUMENT for requests that contradict themselves, UNSUPPORTED where no device can run a node (naming
// it and what each device said), OUT_OF_MEMORY with numbers and what would fit.
std::shared_ptr<const Plan> make_plan(std::shared_ptr<const OpenModel> model, const Request& request);

// The plan of the next lower rung that fits and that the host's request allows, after `plan` could not be loaded for
// want of memory; null where there is none. [as make_plan]
std::shared_ptr<const Plan> next_plan(const Plan& plan, const Error& refused);

// JSON text, see brim_plan_explain.
std::string explain(const Plan& plan);

}  // namespace brim::negotiator
