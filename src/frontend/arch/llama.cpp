// Llama 1 to 3, SmolLM2, TinyLlama and whatever else calls itself model_type "llama".
// Config: transformers' LlamaConfig; GGUF: general.architecture "llama", which keeps Meta's rotary order.
#include "frontend/decoder.h"

namespace lathe::frontend {
namespace {

constexpr WeightName kWeights[] = {
    {slots::embed, "model.embed_tokens.weight", "token_embd.weight"},
    {slots::attn_norm, "model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight"},
    {slots::q, "model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight"},
    {slots::q_bias, "model.layers.{}.self_attn.q_proj.bias", "blk.{}.attn_q.bias"},
    {slots::k, "model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight"},
    {slots::k_bias, "model.layers.{}.self_attn.k_proj.bias", "blk.{}.attn_k.bias"},
    {slots::v, "model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight"},
    {slots::v_bias, "model.layers.{}.self_attn.v_proj.bias", "blk.{}.attn_v.bias"},
    {slots::o, "model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight"},
    {slots::o_bias, "model.layers.{}.self_attn.o_proj.bias", "blk.{}.attn_output.bias"},
    {slots::mlp_norm, "model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight"},
    {slots::gate, "model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight"},
    {slots::gate_bias, "model.layers.{}.mlp.gate_proj.bias", "blk.{}.ffn_gate.bias"},
    {slots::up, "model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight"},
    {slots::up_bias, "model.layers.{}.mlp.up_proj.bias", "blk.{}.ffn_up.bias"},
    {slots::down, "model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight"},
    {slots::down_bias, "model.layers.{}.mlp.down_proj.bias", "blk.{}.ffn_down.bias"},
    {slots::final_norm, "model.norm.weight", "output_norm.weight"},
    {slots::head, "lm_head.weight", "output.weight"},
    {slots::rope_factors, "", "rope_freqs.weight"},
};

constexpr std::string_view kIgnored[] = {".rotary_emb.inv_freq"};

DecoderConfig read_config(const Json& json) {
  DecoderConfig config;
  config.vocab_size = get_int(json, "vocab_size");
  config.hidden_size = get_int(json, "hidden_size");
  config.num_layers = get_int(json, "num_hidden_layers");
  config.num_heads = get_int(json, "num_attention_heads");
  config.num_kv_heads = find_int(json, "num_key_value_heads").value_or(config.num_heads);
  config.head_dim = head_dim_of(json, config.hidden_size, config.num_heads);
  config.intermediate_size = get_int(json, "intermediate_size");
  config.context_length = find_int(json, "max_position_embeddings").value_or(2048);
  config.norm = NormKind::rms;
  config.norm_epsilon = find_number(json, "rms_norm_eps").value_or(1e-6);
  config.mlp = gated_mlp(find_string(json, "hidden_act").value_or("silu"));
  config.rope = read_rope(json, config.head_dim, 1, config.context_length, 10000);
  config.tied_embeddings = find_bool(json, "tie_word_embeddings").value_or(false);
  config.attention_bias = find_bool(json, "attention_bias");
  config.o_bias = config.attention_bias;
  config.mlp_bias = find_bool(json, "mlp_bias");
  return config;
}

}  // namespace

const Architecture& llama_architecture() {
  static constexpr Architecture kLlama = {
      .model_type = "llama",
      .hf_class = "LlamaForCausalLM",
      .gguf_name = "llama",
      .weights = kWeights,
      .ignored_suffixes = kIgnored,
      .read_config = read_config,
      .gguf_interleaves_rotary = true,
  };
  return kLlama;
}

}  // namespace lathe::frontend
