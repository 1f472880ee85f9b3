// GPT-2 and its kin (DistilGPT-2, DialoGPT): learned positions, LayerNorm, one query-key-value matrix, matrices stored
// by input. Config: transformers' GPT2Config; GGUF: general.architecture "gpt2", which stores matrices by output.
#include "frontend/decoder.h"

namespace lathe::frontend {
namespace {

constexpr WeightName kWeights[] = {
    {slots::embed, "transformer.wte.weight", "token_embd.weight"},
    {slots::positions, "transformer.wpe.weight", "position_embd.weight"},
    {slots::attn_norm, "transformer.h.{}.ln_1.weight", "blk.{}.attn_norm.weight"},
    {slots::attn_norm_bias, "transformer.h.{}.ln_1.bias", "blk.{}.attn_norm.bias"},
    {slots::qkv, "transformer.h.{}.attn.c_attn.weight", "blk.{}.attn_qkv.weight"},
    {slots::qkv_bias, "transformer.h.{}.attn.c_attn.bias", "blk.{}.attn_qkv.bias"},
    {slots::o, "transformer.h.{}.attn.c_proj.weight", "blk.{}.attn_output.weight"},
    {slots::o_bias, "transformer.h.{}.attn.c_proj.bias", "blk.{}.attn_output.bias"},
    {slots::mlp_norm, "transformer.h.{}.ln_2.weight", "blk.{}.ffn_norm.weight"},
    {slots::mlp_norm_bias, "transformer.h.{}.ln_2.bias", "blk.{}.ffn_norm.bias"},
    {slots::up, "transformer.h.{}.mlp.c_fc.weight", "blk.{}.ffn_up.weight"},
    {slots::up_bias, "transformer.h.{}.mlp.c_fc.bias", "blk.{}.ffn_up.bias"},
    {slots::down, "transformer.h.{}.mlp.c_proj.weight", "blk.{}.ffn_down.weight"},
    {slots::down_bias, "transformer.h.{}.mlp.c_proj.bias", "blk.{}.ffn_down.bias"},
    {slots::final_norm, "transformer.ln_f.weight", "output_norm.weight"},
    {slots::final_norm_bias, "transformer.ln_f.bias", "output_norm.bias"},
    {slots::head, "lm_head.weight", "output.weight"},
};

constexpr std::string_view kIgnored[] = {".attn.bias", ".attn.masked_bias"};

// GPT-2's own name, or the one that other models and GGUF have for it.
int64_t get_size(const Json& json, std::string_view own, std::string_view usual) {
  const auto size = find_int(json, usual);
  return size ? *size : get_int(json, own);
}

DecoderConfig read_config(const Json& json) {
  DecoderConfig config;
  config.vocab_size = get_int(json, "vocab_size");
  config.hidden_size = get_size(json, "n_embd", "hidden_size");
  config.num_layers = get_size(json, "n_layer", "num_hidden_layers");
  config.num_heads = get_size(json, "n_head", "num_attention_heads");
  config.num_kv_heads = config.num_heads;
  config.head_dim = head_dim_of(json, config.hidden_size, config.num_heads);
  const auto inner = find_int(json, "n_inner");
  config.intermediate_size = inner ? *inner : find_int(json, "intermediate_size").value_or(4 * config.hidden_size);
  config.context_length = get_size(json, "n_positions", "max_position_embeddings");
  config.learned_positions = true;
  config.norm = NormKind::layer;
  const auto epsilon = find_number(json, "layer_norm_epsilon");
  config.norm_epsilon = epsilon ? *epsilon : find_number(json, "layer_norm_eps").value_or(1e-5);
  config.mlp = plain_mlp(find_string(json, "activation_function").value_or("gelu_new"));
  config.tied_embeddings = find_bool(json, "tie_word_embeddings").value_or(true);
  config.qkv = QkvForm::concatenated;
  config.attention_bias = true;
  config.o_bias = true;
  config.mlp_bias = true;
  return config;
}

}  // namespace

const Architecture& gpt2_architecture() {
  static constexpr Architecture kGpt2 = {
      .model_type = "gpt2",
      .hf_class = "GPT2LMHeadModel",
      .gguf_name = "gpt2",
      .weights = kWeights,
      .ignored_suffixes = kIgnored,
      .read_config = read_config,
      .hf_optional_prefix = "transformer.",
      .hf_matrices_by_input = true,
      .gguf_qkv = QkvForm::concatenated,
  };
  return kGpt2;
}

}  // namespace lathe::frontend
