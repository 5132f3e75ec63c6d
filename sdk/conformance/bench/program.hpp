// A net as a program on a device: every value in a guarded buffer of its own, the program measured and created, steps
// run, and after each run everything looked at that must not have changed.
#pragma once

#include <map>

#include "device.hpp"
#include "step.hpp"

namespace check {

struct Setup {
  brim_bucket bucket{sizeof(brim_bucket), 4, 2, 4, 32, 1};
  uint32_t numerics = BRIM_NUMERICS_STRICT;
  uint32_t kv_dtype = BRIM_DTYPE_F32;  // of KV states
  uint32_t n_blocks = 8;               // of each KV state; slots of the others
  std::vector<uint32_t> nodes;         // empty: every node of the net
  Strides strides;
  uint32_t pieces = 1;                       // bindings of a weight with so many rows or more
  uint64_t step_seed = 0;                    // of the order of the step block's arrays; 0: that of backend.h
  std::map<brim_value, brim_value> storage;  // values that lie in another's buffer
  std::map<brim_value, brim_buffer*> given;  // values that the caller has put in a buffer, from its begin
};

// Storage of a net's states; programs can share it.
struct StateStore {
  StateStore(Device& device, const std::vector<brim_state_desc>& descs, uint32_t kv_dtype, uint32_t n_blocks);
  std::vector<brim_state_desc> descs;
  std::vector<brim_state_layout> layouts;
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<uint32_t> dtypes;
  uint32_t n_blocks, block_tokens = 1;
  brim_program_state program_state(uint32_t i, uint32_t group) const;
};

class Program {
 public:
  // Measures and creates. `store`: states of another program; null: its own. A program that cannot be created ends the
  // test; with `answer` it says why instead, and created() is false.
  Program(Device& device, const Net& net, const Setup& setup, StateStore* store = nullptr, Answer* answer = nullptr);
  ~Program();
  Program(const Program&) = delete;

  Trial& trial() const { return device_.trial(); }
  // Whether every binding would be the same without the fields behind `bytes`: no pieces, plain layouts.
  bool has_plain_bindings() const;
  bool created() const { return program_ != nullptr; }
  const brim_program_cost& cost() const { return cost_; }
  const brim_bucket& bucket() const { return setup_.bucket; }
  StateStore& store() const { return *store_; }
  // Bytes of host memory that program_create left live, and the most it had.
  uint64_t held() const { return held_; }
  uint64_t peak() const { return peak_; }

  // The bytes of a value's own buffer: inputs are written and outputs read here. Not of weights in pieces. Weights lie
  // in the layout that the plugin likes best.
  Buffer& of(brim_value value) { return *buffers_.at(value); }
  void set(brim_value value, const std::vector<float>& data);
  std::vector<float> floats(brim_value value, uint64_t count);
  // Fills temps, outputs and workspace with a byte, so that what a run did not write shows.
  void soil(std::byte with);

  // One step, to its end. `step` is filled into the block first.
  Answer run(const Step& step, const volatile uint32_t* cancel = nullptr);
  // The same in parts: for other queues, other threads.
  brim_step_header fill(const Step& step) { return header_ = layout_->fill(step_->data(), step); }
  Answer submit(brim_queue* queue, const volatile uint32_t* cancel = nullptr);
  std::byte* step_block() { return step_->data(); }
  const StepLayout& layout() const { return *layout_; }

  // Looks at guard zones, weights, inputs and the step block; findings name the value. `after` says what ran.
  void inspect(const char* after);
  // Everything that program_create was given becomes unreadable.
  void forget_info();

  // program_measure and program_create alone, for those who count.
  Answer measure(brim_program_cost* out);
  Answer create(brim_program** out);

 private:
  void bind();
  void bind_weight(brim_value v, uint64_t bytes);
  void add_binding(brim_value v, const Buffer& buffer, uint64_t layout_id = 0, uint64_t first = 0, uint64_t n = 0);
  Fenced info_struct(bool live, std::vector<Fenced>& parts);
  Device& device_;
  Net net_;
  Setup setup_;
  std::unique_ptr<StateStore> own_store_;
  StateStore* store_;
  std::unique_ptr<Image> image_;
  std::unique_ptr<StepLayout> layout_;
  std::unique_ptr<Fenced> bucket_, nodes_, descs_;
  std::vector<Fenced> created_from_;
  std::map<brim_value, std::unique_ptr<Buffer>> buffers_;
  std::vector<std::pair<brim_value, std::unique_ptr<Buffer>>> pieces_;
  std::vector<brim_binding> bindings_;
  std::unique_ptr<Buffer> workspace_, step_;
  std::unique_ptr<Fenced> run_, counts_;
  std::vector<std::byte> step_before_;
  std::map<brim_value, std::vector<std::byte>> before_;  // what is only read: weights, inputs of the last run
  brim_step_header header_{};
  brim_program_cost cost_{};
  brim_program* program_ = nullptr;
  uint64_t held_ = 0, peak_ = 0;
};

// Whether the device takes every node of the net; `why` names the first that it does not.
bool supported(Device& device, const Net& net, uint32_t numerics, std::string* why = nullptr);

}  // namespace check
