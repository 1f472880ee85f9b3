// From the exported form of a language model to the form the runtime executes.
#pragma once

#include <map>
#include <string>

#include "ir/graph.h"

namespace lathe::opt {

struct PackOptions {
  std::string compute = "f32";            // attribute `compute` of every lathe.Linear
  tensor::DType kv = tensor::DType::f32;  // element type of the cache
  int64_t kv_block = 64;                  // positions of a cache block
};

// Takes the graph of one decoder step over [batch, sequence] with past_key_values.N.* and present.N.* and
// gives the same computation over packed tokens of any mix of sequences:
//   token_ids, positions [tokens] i64; first_token [sequences_one] i32; first_position [sequences] i32;
//   block_table [sequences, blocks] i32; output_rows [outputs] i64;
//   key_cache.N, value_cache.N [cache_blocks, kv_heads, kv_block, head_dim] of the cache type
//   -> logits [outputs, vocabulary] f32, key_cache.N.next, value_cache.N.next
// All values between are f32. Results keep the names they had, so that they can be compared with the graph
// they came from. Throws unsupported naming the first node that has no packed form.
ir::Graph to_packed(const ir::Graph& decoder, const PackOptions& options);

// Inputs for checked mode on a packed graph, which numbers chosen without knowing it cannot be: one step of two
// sequences, two new tokens in an empty one and three after two in another, over caches of small noise.
std::map<std::string, tensor::Tensor> packed_check_inputs(const ir::Graph& packed);

}  // namespace lathe::opt
