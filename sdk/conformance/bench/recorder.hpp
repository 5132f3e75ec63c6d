// The host's builder as an architecture meets it: writes down all that describe and build say, in a form that can be
// compared byte for byte, and checks what can be checked without shapes: order of calls, ids, ops and their inputs,
// states. (Shapes are the host's own business; a graph is also planned through brim.h, see groups/architectures.cpp.)
#pragma once

#include <brim/architecture.h>

#include <set>
#include <string>
#include <vector>

#include "model_data.hpp"

namespace check {

class Recorder {
 public:
  explicit Recorder(const ModelData& data);
  Recorder(const Recorder&) = delete;

  const brim_builder_api* api() const { return table_.as<brim_builder_api>(); }
  brim_builder* builder() { return reinterpret_cast<brim_builder*>(this); }

  void begin_describe() { stage_ = Stage::kDescribe; }
  void begin_build(const brim_build_info& info);
  void end_build();
  void end_describe();

  const brim_model_desc& model() const { return model_; }
  // Everything since the begin, as text.
  const std::string& record() const { return record_; }
  // The first error, by the plugin's own report or because the host refused a tensor.
  brim_status status() const { return status_; }
  const std::string& error() const { return error_; }
  bool refused_tensor() const { return refused_tensor_; }
  // What the plugin did wrong.
  const std::vector<std::string>& sins() const { return sins_; }

 private:
  enum class Stage : uint8_t { kNone, kDescribe, kBuild };
  static Recorder& of(brim_builder* builder) { return *reinterpret_cast<Recorder*>(builder); }
  static brim_builder_api functions();
  bool in(Stage stage, const char* call);
  void sin(std::string what);
  brim_status stick(brim_status code, std::string message);
  brim_status add_tensor(const brim_tensor_desc& desc, uint32_t* id);
  brim_status emit(uint32_t op, uint32_t rev, uint64_t must, uint64_t hints, const void* attr, const brim_value* in,
                   uint32_t n_in, brim_value* out, uint32_t n_out);
  bool is_state(brim_value v) const { return v < values_.size() && values_[v] != 0; }

  const ModelData& data_;
  Fenced table_;
  Stage stage_ = Stage::kNone;
  brim_model_desc model_{};
  brim_build_info info_{};
  bool modelled_ = false, refused_tensor_ = false;
  std::vector<bool> tensors_;  // whether the file has it
  uint32_t n_states_ = 0;
  std::vector<uint32_t> values_;  // by value: 1 + index of the state it is a version of, 0: a tensor
  std::set<brim_value> written_;  // versions of states that a node has followed
  uint64_t outputs_ = 0;
  std::string record_, error_;
  brim_status status_ = BRIM_OK;
  std::vector<std::string> sins_;
};

}  // namespace check
