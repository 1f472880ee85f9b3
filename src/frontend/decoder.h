// A decoder-only language model as data, and the one builder that turns it into a graph.
//
// An architecture (frontend/arch/x.cpp) maps its Hugging Face config to DecoderConfig and lists its tensor
// names; what differs between models is a field here, never a test for a model's name.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "frontend/checkpoint.h"
#include "frontend/rope.h"
#include "ir/graph.h"
#include "ir/model.h"

namespace lathe::frontend {

enum class NormKind { rms, layer };

// What the MLP does between its matrices: gate kinds have two input matrices.
enum class MlpKind { silu_gate, gelu_gate, gelu_tanh_gate, gelu, gelu_tanh, silu, relu };

// How a checkpoint stores the query, key and value projections.
enum class QkvForm {
  separate,      // three matrices
  concatenated,  // one matrix: all queries, all keys, all values
  per_head,      // one matrix: for each head its query, key and value rows (GPT-NeoX)
};

struct DecoderConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate_size = 0;
  int64_t context_length = 0;  // positions the model was made for
  NormKind norm = NormKind::rms;
  double norm_epsilon = 1e-5;
  MlpKind mlp = MlpKind::silu_gate;
  RopeConfig rope;                 // of 0 dims: heads are not turned
  bool learned_positions = false;  // an embedding of each position is added to the token's
  bool parallel_residual = false;  // x + attention(norm1(x)) + mlp(norm2(x))
  bool tied_embeddings = false;    // the head is the embedding matrix
  QkvForm qkv = QkvForm::separate;
  // Which biases the model has; the tensors must agree, or a damaged checkpoint would pass for a model without.
  // Where the config does not say (nullopt), every layer must do as the first.
  bool norm_bias = true;               // of NormKind::layer; RMS norms have none
  std::optional<bool> attention_bias;  // query, key, value
  std::optional<bool> o_bias;
  std::optional<bool> mlp_bias;
  bool head_bias = false;
};

// Throws invalid_input naming field and value for numbers that no model has (negative, zero, absurdly large,
// heads that do not divide), unsupported for combinations that are not built yet.
void check(const DecoderConfig& config);

// config.json as the front end takes it. Throws invalid_input for what is no JSON, unsupported for weights that are
// quantised in a way that the config describes (quantization_config: GPTQ, AWQ, bitsandbytes, ...).
Json parse_config(std::string_view text);

// Helpers for read_config. head_dim from the config or hidden / heads; the MLP kind of a `hidden_act` in a gated
// or a plain MLP (unsupported for an activation that is not known).
int64_t head_dim_of(const Json& config, int64_t hidden_size, int64_t num_heads);
MlpKind gated_mlp(std::string_view hidden_act);
MlpKind plain_mlp(std::string_view hidden_act);

// A role that tensors play.
struct Slot {
  std::string_view name;      // as errors say it
  bool layer_matrix = false;  // [outputs, inputs] of each layer
  friend bool operator==(const Slot& a, const Slot& b) { return a.name == b.name; }
};

// All of them.
namespace slots {
inline constexpr Slot embed{"embed"}, positions{"positions"};
inline constexpr Slot attn_norm{"attn_norm"}, attn_norm_bias{"attn_norm_bias"};
inline constexpr Slot q{"q", true}, k{"k", true}, v{"v", true}, qkv{"qkv", true};
inline constexpr Slot q_bias{"q_bias"}, k_bias{"k_bias"}, v_bias{"v_bias"}, qkv_bias{"qkv_bias"};
inline constexpr Slot o{"o", true}, o_bias{"o_bias"};
inline constexpr Slot mlp_norm{"mlp_norm"}, mlp_norm_bias{"mlp_norm_bias"};
inline constexpr Slot gate{"gate", true}, up{"up", true}, down{"down", true};
inline constexpr Slot gate_bias{"gate_bias"}, up_bias{"up_bias"}, down_bias{"down_bias"};
inline constexpr Slot final_norm{"final_norm"}, final_norm_bias{"final_norm_bias"};
inline constexpr Slot head{"head"}, head_bias{"head_bias"};
inline constexpr Slot rope_factors{"rope_factors"};  // [rotary / 2], divide the frequencies
}  // namespace slots

// One record a line in an architecture's table. Names hold "{}" for the layer.
struct WeightName {
  Slot slot;
  std::string_view hf;
  std::string_view gguf;
};

// One file in frontend/arch, found by its name through the generated table.
struct Architecture {
  std::string_view model_type;    // config.json's model_type, e.g. "gpt_neox"
  std::string_view hf_class;      // "GPTNeoXForCausalLM"
  std::string_view gguf_name;     // general.architecture
  std::span<const WeightName> weights;
  // Suffixes of tensors that old checkpoints carry and no model reads (masks, rotary tables).
  std::span<const std::string_view> ignored_suffixes;
  // Keys of the table in config_keys.cpp that read_config reads: the others are refused where they are on.
  std::span<const std::string_view> read_keys = {};
  DecoderConfig (*read_config)(const Json& config);  // called by decoder_config alone
  // Adds to a config.json made from GGUF metadata what is special to this architecture. May be null. Keys it reads
  // must be in gguf_config.cpp's table: others are refused.
  void (*complete_gguf_config)(Json& config, const io::GgufMetadata& metadata) = nullptr;
  // Names in a folder may lack it: a checkpoint of the model without its head.
  std::string_view hf_optional_prefix = {};
  // A folder stores the matrices of layers as [inputs, outputs] (Conv1D), not as [outputs, inputs].
  bool hf_matrices_by_input = false;
  // How a GGUF of this architecture stores what a Hugging Face folder stores otherwise.
  bool gguf_interleaves_rotary = false;  // query and key rows in Meta's order, as GGUF's llama has them
  QkvForm gguf_qkv = QkvForm::separate;
};

// What a config.json says of a model of this architecture. Throws unsupported, naming the key, where one is on that
// changes the numbers and that nobody reads; what read_config throws.
DecoderConfig decoder_config(const Architecture& architecture, const Json& config);

std::span<const Architecture* const> all_architectures();
// By config.json's model_type, and by GGUF's general.architecture. Throw unsupported, listing those known.
const Architecture& get_architecture(std::string_view model_type);
const Architecture& get_gguf_architecture(std::string_view gguf_name);

// The graph of one decoder step in Optimum's form, in the standard operators of the newest opset plus
// lathe.RotaryTable and lathe.CausalMask:
//   input_ids [batch_size, sequence_length] i64
//   attention_mask [batch_size, past_sequence_length + sequence_length] i64
//   position_ids [batch_size, sequence_length] i64
//   past_key_values.N.key/value [batch_size, kv_heads, past_sequence_length, head_dim]
//   -> logits [batch_size, sequence_length, vocab], present.N.key/value
// `dtype` is the type it computes in (f32, f16, bf16); plain weights are converted on the way, encoded ones
// keep their encoding and make f32. Weights stay views into the checkpoint.
ir::Model build_decoder(const Checkpoint& checkpoint, tensor::DType dtype);

// The type that the checkpoint itself would compute in: that of its matrices; f32 for GGUF, whose half precision
// matrices and block formats stand between f32 values.
tensor::DType natural_dtype(const Checkpoint& checkpoint);
// What its matrices are stored in: fp32, fp16, bf16, or q8 where any is in blocks.
contract::Precision natural_precision(const Checkpoint& checkpoint);

}  // namespace lathe::frontend
