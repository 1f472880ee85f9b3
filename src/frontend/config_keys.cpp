#include "frontend/config_keys.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace lathe::frontend {
namespace {

// The value that says what is the case without the key, beside null and lists of nothing else.
enum class Plain {
  off,   // false, 0, "", {}
  one,   // 1: a factor
  yes,   // true
  full,  // "full_attention": the kind of each layer
};

struct ComputingKey {
  std::string_view key;
  Plain plain = Plain::off;
  std::string_view switched_by = {};  // a key whose false switches this one off
};

// Of the decoders in transformers and their relatives. A class that does not have the part ignores most of them there
// (sliding_window in a Llama: 4.57 and 5.23 do); a config that has one all the same describes another model than its
// class, and which of both was trained cannot be known here. What brings other tensors is listed only where it is
// usual: tensors without a place are refused anyway.
constexpr ComputingKey kComputingKeys[] = {
    // which positions see each other
    {"sliding_window", Plain::off, "use_sliding_window"},
    {"use_sliding_window"},
    {"sliding_window_size"},
    {"sliding_window_pattern"},
    {"attention_window_size"},
    {"window_size"},
    {"local_attention"},
    {"attention_chunk_size"},
    {"global_attn_every_n_layers"},
    {"layer_types", Plain::full},
    {"is_causal", Plain::yes},
    {"use_bidirectional_attention"},
    {"prefix_lm"},
    {"alibi"},
    // how positions turn heads; rope_parameters and rope_scaling are read_rope's
    {"partial_rotary_factor", Plain::one},
    {"rotary_pct", Plain::one},
    {"rotary_dim"},
    {"rope_ratio", Plain::one},
    {"rope_local_base_freq"},
    {"rope_interleave"},
    {"rope_interleaved"},
    {"no_rope_layers", Plain::one},  // of each layer 1 where it turns
    {"no_rope_layer_interval"},
    {"layer_rope_theta"},
    {"use_dynamic_ntk"},
    {"use_logn_attn"},
    // queries, keys, values and scores
    {"qk_norm"},
    {"use_qk_norm"},
    {"qk_layernorm"},
    {"clip_qkv"},
    {"query_pre_attn_scalar"},
    {"attention_multiplier"},  // in place of 1 / sqrt(head_dim)
    {"attention_in_multiplier", Plain::one},
    {"attention_out_multiplier", Plain::one},
    {"attention_value_scale", Plain::one},
    {"key_multiplier", Plain::one},
    {"scale_attn_weights", Plain::yes},
    {"scale_attn_by_inverse_layer_idx"},
    {"attn_logit_softcapping"},
    {"attn_temperature_tuning"},
    {"attention_k_eq_v"},
    {"num_kv_shared_layers"},
    {"kv_lora_rank"},
    // scales of embeddings, layers and logits
    {"embedding_multiplier", Plain::one},
    {"embedding_scale", Plain::one},
    {"scale_embedding"},
    {"scale_emb", Plain::one},
    {"scale_depth"},
    {"dim_model_base"},
    {"residual_multiplier", Plain::one},
    {"mlp_multipliers", Plain::one},
    {"lm_head_multiplier", Plain::one},
    {"logit_scale", Plain::one},
    {"logits_scaling", Plain::one},
    {"final_logit_softcapping"},
    {"logits_soft_cap"},
    {"mup_enabled"},
    // where norms stand and what is added to what
    {"use_parallel_residual"},
    {"parallel_attn"},
    {"use_post_norm"},
    {"use_sandwich_norm"},
    {"apply_residual_connection_post_layernorm"},
    {"do_layer_norm_before", Plain::yes},
    // what stands in place of the MLP, or in it
    {"num_experts"},
    {"num_local_experts"},
    {"n_routed_experts"},
    {"moe_num_experts"},
    {"enable_moe_block"},
    {"hidden_activation"},
    {"swiglu_limit"},
    {"swiglu_alpha"},
    // layers that differ, and models of more than one part
    {"per_layer_config"},
    {"add_cross_attention"},
    {"is_encoder_decoder"},
};

bool says_nothing(const Json& value, Plain plain) {
  if (value.is_null()) return true;
  if (value.is_array()) {
    return std::all_of(value.begin(), value.end(), [&](const Json& item) { return says_nothing(item, plain); });
  }
  switch (plain) {
    case Plain::off:
      return value == false || (value.is_number() && value.get<double>() == 0) || value == "" ||
             (value.is_object() && value.empty());
    case Plain::one:
      return value.is_number() && value.get<double>() == 1;
    case Plain::yes:
      return value == true;
    case Plain::full:
      return value == "full_attention";
  }
  return false;
}

}  // namespace

void refuse_unread_keys(const Json& config, std::span<const std::string_view> read) {
  for (const std::string_view key : read) {
    const bool known = std::any_of(std::begin(kComputingKeys), std::end(kComputingKeys),
                                   [&](const ComputingKey& entry) { return entry.key == key; });
    LATHE_CHECK(known, "{} is read by an architecture and not in the table of keys", key);
  }
  for (const ComputingKey& entry : kComputingKeys) {
    if (std::find(read.begin(), read.end(), entry.key) != read.end()) continue;
    const Json* value = find_member(config, entry.key);
    if (!value || says_nothing(*value, entry.plain)) continue;
    const Json* switched_by = entry.switched_by.empty() ? nullptr : find_member(config, entry.switched_by);
    if (switched_by && *switched_by == false) continue;
    fail_key(entry.key, *value);
  }
}

void fail_key(std::string_view key, const Json& value, std::string_view where) {
  // Lists hold a value for each layer or dimension.
  constexpr size_t kLongest = 100;
  std::string text = value.dump(-1, ' ', true);  // escaped: cut nowhere within a letter
  if (text.size() > kLongest) text = text.substr(0, kLongest) + " ..";
  fail(ErrorCode::unsupported, "{}{}{} = {} is not supported", where, where.empty() ? "" : ": ", key, text);
}

}  // namespace lathe::frontend
