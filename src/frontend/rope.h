// Rotary position embedding: the frequencies of a config, with the scalings in use.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace lathe::frontend {

enum class RopeScaling { none, linear, dynamic, llama3, yarn };

struct RopeConfig {
  int64_t dims = 0;  // leading dimensions of a head that rotate
  double theta = 10000;
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;
  double original_context = 0;  // the length the model was trained on; 0: its context length
  double low_freq_factor = 1;   // llama3
  double high_freq_factor = 4;  // llama3
  double beta_fast = 32;        // yarn
  double beta_slow = 1;         // yarn
  double attention_factor = 0;  // yarn; 0: from the factor
  double mscale = 0;            // yarn, DeepSeek's pair; 0: absent
  double mscale_all_dim = 0;
  bool truncate = true;         // yarn: whole-number correction range
};

// The part of a head that rotates, its leading dimensions: partial_rotary_factor in rope_parameters or rope_scaling,
// else `key` of the config as the architecture calls it ("rotary_pct", "partial_rotary_factor"), else `otherwise`.
// Throws invalid_input unless it is above 0 and at most 1.
double rotary_fraction(const Json& config, std::string_view key, double otherwise);

// Reads rope_parameters (transformers 5), or rope_theta / rotary_emb_base and rope_scaling with `rope_type` or
// `type`. `fraction` of `head_dim` rotates, `context` is max_position_embeddings. Throws unsupported for a type or a
// key that it does not know, for another partial_rotary_factor than `fraction` and for objects that contradict each
// other, invalid_input for numbers that make no sense.
RopeConfig read_rope(const Json& config, int64_t head_dim, double fraction, int64_t context, double default_theta);

struct RopeTable {
  std::vector<float> inverse_frequencies;  // [dims / 2]
  float attention_factor = 1;              // multiplies cos and sin
};

// As transformers' modeling_rope_utils computes it (fp32 steps included, because positions multiply the last
// bit). `dynamic` gives the table for lengths up to original_context; what changes beyond is computed at run
// time from theta, factor and original_context.
RopeTable rope_table(const RopeConfig& rope);

}  // namespace lathe::frontend
