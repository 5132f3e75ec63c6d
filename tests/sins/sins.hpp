// The sins of the backend in backend/, each by its name and in words. One library has them all: which one it commits
// says a name that is written into the file (sin_library.hpp), so that a sinner is a copy and no build. "none" is the
// saint. What brim-check has to say of each stands in sins_test.cpp.
#pragma once

#include <string_view>

#define BRIM_SINS(X)                                                                                       \
  X(none, "the clean backend")                                                                             \
  /* the library and its header */                                                                         \
  X(second_symbol, "exports a function beside the query")                                                  \
  X(manifest_of_another_id, "the manifest names another id")                                               \
  X(manifest_of_another_kind, "the manifest says architecture")                                            \
  X(manifest_of_another_minor, "the manifest promises an older minor than the header")                     \
  X(manifest_wants_what_no_processor_has, "the manifest requires a processor feature that does not exist") \
  X(query_has_effects, "the query reads the environment and allocates")                                    \
  X(claims_every_major, "says of every major that it is its own")                                          \
  X(false_build_flags, "says that AddressSanitizer is in it")                                              \
  X(unknown_setting_taken, "takes settings that it does not know")                                         \
  X(interface_by_its_beginning, "compares the beginning of an interface's name")                           \
  X(leak_per_instance, "does not give the instance's memory back")                                         \
  X(instances_share_memory, "takes and frees memory by the newest instance's host")                        \
  X(reads_the_environment, "reads a variable of the environment in create")                                \
  X(prints, "writes to standard output")                                                                   \
  X(throws, "throws where device_open should refuse")                                                      \
  /* errors and answers */                                                                                 \
  X(error_without_code, "leaves brim_error.code 0")                                                        \
  X(error_without_words, "leaves brim_error.message empty")                                                \
  X(error_written_behind_its_size, "fills a brim_error as large as its own, whatever the caller's")        \
  X(error_written_on_success, "writes a brim_error though all went well")                                  \
  X(answer_written_behind_its_size, "fills structs as large as its own, whatever the caller's")            \
  X(answer_changes_its_size, "sets struct_size of the caller's struct to its own")                         \
  X(device_that_is_not_there, "opens device 4711")                                                         \
  X(info_changes, "says another name the second time")                                                     \
  X(budget_is_constant, "answers the heap's size for its budget, whatever is in use")                      \
  X(buffers_misaligned, "aligns buffers to 16 bytes, and says 256")                                        \
  X(copy_from_the_beginning, "ignores the source's offset in copy")                                        \
  X(queue_wait_ignored, "does not hold work back behind queue_wait")                                       \
  X(deadline_is_ok, "says ok when the time of fence_wait is up")                                           \
  X(fence_goes_back, "lets a fence's value fall")                                                          \
  /* foreign structs */                                                                                    \
  X(value_stride_assumed, "takes values to be sizeof(brim_value_desc) apart")                              \
  X(node_stride_assumed, "takes nodes to be sizeof(brim_node) apart")                                      \
  X(binding_stride_assumed, "takes bindings to be sizeof(brim_binding) apart")                             \
  X(state_stride_assumed, "takes states to be their own size apart")                                       \
  X(group_stride_assumed, "takes KV groups to be sizeof(brim_group_layout) apart")                         \
  X(binding_tail_read, "reads all fields of a binding, whatever its size")                                 \
  X(attribute_tail_read, "reads all fields of an attribute, whatever its size")                            \
  X(run_read_past_its_size, "reads all fields of brim_run, whatever its size")                             \
  /* planning */                                                                                           \
  X(claims_every_bit, "claims all feature bits of MATMUL")                                                 \
  X(claims_every_revision, "claims revisions of ROPE that do not exist")                                   \
  X(says_yes_and_refuses, "supports a BINARY of pow, and then refuses to compile it")                      \
  X(support_changes_its_mind, "answers every third question of support with NONE")                         \
  X(soft_cap_ignored, "claims SOFTCAP of ATTENTION and leaves it out")                                     \
  X(affine_soft_cap_ignored, "claims SOFTCAP of AFFINE_CLAMP and leaves it out")                           \
  X(window_ignored, "claims SLIDING_WINDOW and sees everything")                                           \
  X(layout_without_id, "gives a state's layout the id 0")                                                  \
  X(block_of_twelve, "stores twelve tokens in a block")                                                    \
  X(workspace_understated, "says half of the workspace that it uses")                                      \
  X(persistent_understated, "says half of the memory that a program holds")                                \
  X(measure_leaks, "program_measure leaves memory behind")                                                 \
  /* programs */                                                                                           \
  X(leak_per_program, "does not give a program's memory back")                                             \
  X(leak_per_run, "leaves memory behind in each run")                                                      \
  X(leak_when_create_fails, "leaves memory behind when a program is refused")                              \
  X(leak_when_memory_ends, "leaves a buffer's memory behind when there is none for its handle")            \
  X(out_of_memory_not_looked_for, "uses what alloc gave without a look")                                   \
  X(out_of_memory_is_internal, "calls a lack of memory an internal error")                                 \
  X(out_of_memory_without_detail, "does not say how much memory was asked for")                            \
  X(lost_device_comes_back, "goes on after the device was lost")                                           \
  X(allocates_in_run, "calls operator new in program_run")                                                 \
  X(takes_host_memory_in_run, "calls the host's alloc in program_run")                                     \
  X(own_thread, "computes on a thread of its own")                                                         \
  X(team_in_team, "calls team_run from inside of the team")                                                \
  X(runs_on_its_makers_thread, "refuses to run on another thread than the program's maker")                \
  X(scratch_shared_by_queues, "keeps scratch in a static array that all queues share")                     \
  X(graph_kept, "looks into the graph after program_create has returned")                                  \
  X(pieces_ignored, "reads only the first piece of a weight")                                              \
  X(writes_past_an_output, "writes one element behind an output")                                          \
  X(writes_a_weight, "changes a weight")                                                                   \
  X(writes_the_step_block, "changes the step block")                                                       \
  X(step_offset_ignored, "takes the step block to begin at its buffer's beginning")                        \
  X(step_layout_assumed, "takes positions to lie right behind the tokens")                                 \
  X(position_baked, "goes on from the position of the first run in all later ones")                        \
  X(context_is_the_bucket, "attends to the bucket's n_kv tokens in place of kv_len")                       \
  X(adds_to_what_was_there, "adds to an output that was never zeroed")                                     \
  X(sums_depend_on_the_team, "sums in as many parts as the team has members")                              \
  X(sums_depend_on_other_rows, "sums in another order where a step has several rows")                      \
  /* states */                                                                                             \
  X(padding_rows_written, "writes K and V of the rows behind the step's last")                             \
  X(discarded_rows_written, "writes rows whose kv_slot is -1 to slot 0")                                   \
  X(cancel_ignored, "runs on when it was cancelled")                                                       \
  X(cancel_wipes_the_state, "zeroes a state's first block when it was cancelled")                          \
  X(state_goes_back_where_it_was_read, "writes a conv state to the slot that it was read from")            \
  X(zero_state_is_slot_zero, "reads slot 0 where state_read is -1")                                        \
  X(export_is_not_canonical, "exports K and V as they lie in the block")                                   \
  X(import_from_the_beginning, "imports to token 0, whatever `first` is")

#define BRIM_FAMILY_SINS(X)                                                                       \
  X(family_reads_the_clock, "another graph at another time")                                      \
  X(family_counts, "another graph each time")                                                     \
  X(family_takes_every_file, "match takes every file")                                            \
  X(family_matches_by_the_tokenizer, "match scores by a key of the tokenizer's")                  \
  X(family_names_no_key, "says that a file is damaged, and not where")                            \
  X(family_without_words, "fails without a word")                                                 \
  X(family_guesses, "takes a key of a wrong type for one that is missing, and guesses its value") \
  X(family_cuts_numbers, "cuts 64-bit numbers of the file down to 32")                            \
  X(family_leaks, "leaves memory behind in describe")                                             \
  X(family_hides_an_error, "describe says ok after an error")

// The marker by which the name's place in the file is found, and the room for a name behind it.
#define BRIM_SIN_MARKER "the sin of this library: "
inline constexpr int kSinRoom = 64;

#if defined(BRIM_SINNER)
namespace sins {

// Volatile: what the compiler sees here is not what the copy says.
inline volatile const char kChosen[sizeof BRIM_SIN_MARKER + kSinRoom] = BRIM_SIN_MARKER "none";

inline bool chosen(std::string_view name) {
  const volatile char* at = kChosen + sizeof BRIM_SIN_MARKER - 1;
  for (const char c : name) {
    if (*at++ != c) return false;
  }
  return *at == 0;
}

#define BRIM_X(name, what) inline const bool name = chosen(#name);
BRIM_SINS(BRIM_X)
BRIM_FAMILY_SINS(BRIM_X)
#undef BRIM_X

}  // namespace sins
#endif
