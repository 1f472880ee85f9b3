// GPT-NeoX: Pythia, Dolly v2. Partial rotary, parallel residual, LayerNorm, one query-key-value matrix.
// Config: transformers' GPTNeoXConfig; GGUF: general.architecture "gptneox".
#include <algorithm>

#include "frontend/config_keys.h"
#include "frontend/decoder.h"

namespace lathe::frontend {
namespace {

constexpr WeightName kWeights[] = {
    {slots::embed, "gpt_neox.embed_in.weight", "token_embd.weight"},
    {slots::attn_norm, "gpt_neox.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight"},
    {slots::attn_norm_bias, "gpt_neox.layers.{}.input_layernorm.bias", "blk.{}.attn_norm.bias"},
    {slots::qkv, "gpt_neox.layers.{}.attention.query_key_value.weight", "blk.{}.attn_qkv.weight"},
    {slots::qkv_bias, "gpt_neox.layers.{}.attention.query_key_value.bias", "blk.{}.attn_qkv.bias"},
    {slots::o, "gpt_neox.layers.{}.attention.dense.weight", "blk.{}.attn_output.weight"},
    {slots::o_bias, "gpt_neox.layers.{}.attention.dense.bias", "blk.{}.attn_output.bias"},
    {slots::mlp_norm, "gpt_neox.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight"},
    {slots::mlp_norm_bias, "gpt_neox.layers.{}.post_attention_layernorm.bias", "blk.{}.ffn_norm.bias"},
    {slots::up, "gpt_neox.layers.{}.mlp.dense_h_to_4h.weight", "blk.{}.ffn_up.weight"},
    {slots::up_bias, "gpt_neox.layers.{}.mlp.dense_h_to_4h.bias", "blk.{}.ffn_up.bias"},
    {slots::down, "gpt_neox.layers.{}.mlp.dense_4h_to_h.weight", "blk.{}.ffn_down.weight"},
    {slots::down_bias, "gpt_neox.layers.{}.mlp.dense_4h_to_h.bias", "blk.{}.ffn_down.bias"},
    {slots::final_norm, "gpt_neox.final_layer_norm.weight", "output_norm.weight"},
    {slots::final_norm_bias, "gpt_neox.final_layer_norm.bias", "output_norm.bias"},
    {slots::head, "embed_out.weight", "output.weight"},
};

constexpr std::string_view kIgnored[] = {".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"};

constexpr std::string_view kReadKeys[] = {"rotary_pct", "partial_rotary_factor", "use_parallel_residual"};

// transformers 4.4x to 4.57 save the fraction twice, and read rotary_pct. Two that differ are of two models.
double fraction_of(const Json& json) {
  const double fraction = rotary_fraction(json, "rotary_pct", 0.25);
  const auto copy = find_number(json, "partial_rotary_factor");
  if (copy && *copy != fraction) fail_key("partial_rotary_factor", json.at("partial_rotary_factor"));
  return fraction;
}

DecoderConfig read_config(const Json& json) {
  DecoderConfig config;
  config.vocab_size = get_int(json, "vocab_size");
  config.hidden_size = get_int(json, "hidden_size");
  config.num_layers = get_int(json, "num_hidden_layers");
  config.num_heads = get_int(json, "num_attention_heads");
  config.num_kv_heads = config.num_heads;
  config.head_dim = head_dim_of(json, config.hidden_size, config.num_heads);
  config.intermediate_size = get_int(json, "intermediate_size");
  config.context_length = find_int(json, "max_position_embeddings").value_or(2048);
  config.norm = NormKind::layer;
  config.norm_epsilon = find_number(json, "layer_norm_eps").value_or(1e-5);
  config.mlp = plain_mlp(find_string(json, "hidden_act").value_or("gelu"));
  config.rope = read_rope(json, config.head_dim, fraction_of(json), config.context_length, 10000);
  config.parallel_residual = find_bool(json, "use_parallel_residual").value_or(true);
  config.tied_embeddings = find_bool(json, "tie_word_embeddings").value_or(false);
  config.qkv = QkvForm::per_head;
  config.attention_bias = find_bool(json, "attention_bias").value_or(true);  // of `dense` too
  config.o_bias = config.attention_bias;
  config.mlp_bias = true;
  return config;
}

void complete_gguf_config(Json& config, const io::GgufMetadata& metadata) {
  const int64_t rotary_dims = metadata.get_int("gptneox.rope.dimension_count");
  const int64_t num_heads = std::max<int64_t>(get_int(config, "num_attention_heads"), 1);
  const int64_t head_dim = get_int(config, "hidden_size") / num_heads;
  // Half a dimension more, so that int(head_dim * rotary_pct) gives the count back whatever the rounding.
  config["rotary_pct"] = (double(rotary_dims) + 0.5) / double(std::max<int64_t>(head_dim, 1));
  if (rotary_dims == head_dim) config["rotary_pct"] = 1.0;
  config["use_parallel_residual"] = metadata.find_bool("gptneox.use_parallel_residual").value_or(true);
  config["hidden_act"] = "gelu";
}

}  // namespace

const Architecture& gpt_neox_architecture() {
  static constexpr Architecture kGptNeox = {
      .model_type = "gpt_neox",
      .hf_class = "GPTNeoXForCausalLM",
      .gguf_name = "gptneox",
      .weights = kWeights,
      .ignored_suffixes = kIgnored,
      .read_keys = kReadKeys,
      .read_config = read_config,
      .complete_gguf_config = complete_gguf_config,
      .gguf_qkv = QkvForm::concatenated,
  };
  return kGptNeox;
}

}  // namespace lathe::frontend
