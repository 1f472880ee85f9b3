#include "frontend/decoder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "frontend/builder.h"
#include "frontend/config_keys.h"
#include "frontend/contract_from.h"
#include "frontend/weights.h"

namespace lathe::frontend {
namespace {

using tensor::Dim;
using tensor::DType;
using tensor::Shape;

struct Inputs {
  Value input_ids;
  Value attention_mask;
  Value position_ids;
  std::vector<Value> past_keys;
  std::vector<Value> past_values;
};

Inputs declare_inputs(ir::Graph& graph, const DecoderConfig& config, DType dtype) {
  const Dim batch = Dim::symbol("batch_size");
  const Dim sequence = Dim::symbol("sequence_length");
  const Dim past = Dim::symbol("past_sequence_length");
  Inputs inputs;
  inputs.input_ids = graph.add_input("input_ids", {DType::i64, {batch, sequence}, {}});
  inputs.attention_mask = graph.add_input("attention_mask", {DType::i64, {batch, past + sequence}, {}});
  inputs.position_ids = graph.add_input("position_ids", {DType::i64, {batch, sequence}, {}});
  const Shape cache = {batch, config.num_kv_heads, past, config.head_dim};
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    inputs.past_keys.push_back(graph.add_input(fmt::format("past_key_values.{}.key", layer), {dtype, cache, {}}));
    inputs.past_values.push_back(graph.add_input(fmt::format("past_key_values.{}.value", layer), {dtype, cache, {}}));
  }
  return inputs;
}

// What all layers share.
struct StepValues {
  Value cos;  // [batch, sequence, rotary / 2]; absent where heads are not turned
  Value sin;
  Value mask;  // [batch, 1, sequence, past + sequence], added to the scores
};

// cos and sin [batch, sequence, rotary / 2] of the step's positions.
std::vector<Value> build_rotary_tables(const Builder& b, const DecoderConfig& config, Weights& weights,
                                       Value position_ids) {
  RopeTable table = rope_table(config.rope);
  if (const auto factors = weights.find_floats(slots::rope_factors, config.rope.dims / 2)) {
    for (size_t i = 0; i < factors->size(); ++i) table.inverse_frequencies[i] /= (*factors)[i];
  }
  const int64_t half = int64_t(table.inverse_frequencies.size());
  const Value frequencies = b.graph().add_constant(
      "rope.inverse_frequencies", tensor::Tensor::of<float>({half}, std::span<const float>(table.inverse_frequencies)));
  op::Attributes attributes;
  if (table.attention_factor != 1) attributes.set("scale", double(table.attention_factor));
  if (config.rope.scaling == RopeScaling::dynamic) {
    attributes.set("dynamic_factor", config.rope.factor);
    attributes.set("trained_length", config.rope.original_context);
    attributes.set("theta", config.rope.theta);
  }
  return b.nodes("lathe.RotaryTable", {position_ids, frequencies}, attributes, 2, "rope");
}

StepValues build_step_values(const Builder& b, const DecoderConfig& config, Weights& weights, const Inputs& inputs,
                             DType dtype) {
  StepValues step;
  if (config.rope.dims > 0) {
    const auto tables = build_rotary_tables(b, config, weights, inputs.position_ids);
    step.cos = b.cast(tables[0], dtype);
    step.sin = b.cast(tables[1], dtype);
  }
  step.mask =
      b.node("lathe.CausalMask", {inputs.attention_mask, inputs.input_ids}, {{"dtype", int64_t(dtype)}}, "mask");
  return step;
}

Value build_norm(const Builder& b, const DecoderConfig& config, Weights& weights, Slot scale_slot, Slot bias_slot,
                 int64_t layer, Value x, std::string_view name) {
  const Value scale = weights.get(b.graph(), scale_slot, layer, {config.hidden_size});
  const op::Attributes attributes{{"axis", int64_t{-1}}, {"epsilon", config.norm_epsilon}};
  if (config.norm == NormKind::rms) return b.node("RMSNormalization", {x, scale}, attributes, name);
  std::vector<Value> inputs = {x, scale};
  if (config.norm_bias) inputs.push_back(weights.get(b.graph(), bias_slot, layer, {config.hidden_size}));
  return b.node("LayerNormalization", std::move(inputs), attributes, name);
}

struct AttentionResult {
  Value output;
  Value present_key;
  Value present_value;
};

AttentionResult build_attention(const Builder& b, const DecoderConfig& config, Weights& weights, int64_t layer,
                                const StepValues& step, Value x, Value past_key, Value past_value) {
  static constexpr std::string_view kNames[] = {"q", "k", "v"};
  Value qkv[3];
  for (int i = 0; i < 3; ++i) {
    const auto [weight, bias] = weights.projection(b.graph(), i, layer);
    qkv[i] = b.linear(x, weight, bias, kNames[i]);
    if (i == 2 || !step.cos) continue;
    qkv[i] = b.node("RotaryEmbedding", {qkv[i], step.cos, step.sin},
                    {{"num_heads", i == 0 ? config.num_heads : config.num_kv_heads},
                     {"rotary_embedding_dim", config.rope.dims == config.head_dim ? 0 : config.rope.dims}},
                    i == 0 ? "q_rope" : "k_rope");
  }
  const auto outputs = b.nodes("Attention", {qkv[0], qkv[1], qkv[2], step.mask, past_key, past_value},
                               {{"q_num_heads", config.num_heads},
                                {"kv_num_heads", config.num_kv_heads},
                                {"scale", 1.0 / std::sqrt(double(config.head_dim))}},
                               3, "attention");
  const int64_t width = config.num_heads * config.head_dim;
  const Value weight = weights.get(b.graph(), slots::o, layer, {config.hidden_size, width});
  const Value bias = weights.bias(b.graph(), slots::o_bias, layer, {config.hidden_size}, config.o_bias, "o_bias");
  return {b.linear(outputs[0], weight, bias, "o"), outputs[1], outputs[2]};
}

Value build_activation(const Builder& b, MlpKind kind, Value x) {
  switch (kind) {
    case MlpKind::silu:
    case MlpKind::silu_gate:
      return b.node("Swish", {x}, {}, "silu");
    case MlpKind::gelu:
    case MlpKind::gelu_gate:
      return b.node("Gelu", {x}, {}, "gelu");
    case MlpKind::gelu_tanh:
    case MlpKind::gelu_tanh_gate:
      return b.node("Gelu", {x}, {{"approximate", std::string("tanh")}}, "gelu");
    case MlpKind::relu:
      return b.node("Relu", {x}, {}, "relu");
  }
  LATHE_CHECK(false, "mlp kind {}", int(kind));
  return {};
}

bool is_gated(MlpKind kind) {
  return kind == MlpKind::silu_gate || kind == MlpKind::gelu_gate || kind == MlpKind::gelu_tanh_gate;
}

Value build_mlp(const Builder& b, const DecoderConfig& config, Weights& weights, int64_t layer, Value x) {
  const auto matrix = [&](Slot slot, Slot bias_slot, int64_t rows, int64_t columns, Value input,
                          std::string_view name) {
    const Value weight = weights.get(b.graph(), slot, layer, {rows, columns});
    const Value bias = weights.bias(b.graph(), bias_slot, layer, {rows}, config.mlp_bias, "mlp_bias");
    return b.linear(input, weight, bias, name);
  };
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  Value h;
  if (is_gated(config.mlp)) {
    const Value gate = matrix(slots::gate, slots::gate_bias, inner, hidden, x, "gate");
    const Value up = matrix(slots::up, slots::up_bias, inner, hidden, x, "up");
    h = b.mul(build_activation(b, config.mlp, gate), up);
  } else {
    h = build_activation(b, config.mlp, matrix(slots::up, slots::up_bias, inner, hidden, x, "up"));
  }
  return matrix(slots::down, slots::down_bias, hidden, inner, h, "down");
}

// One layer: x in, x out; presents are added to the graph's outputs by the caller.
AttentionResult build_layer(const Builder& b, const DecoderConfig& config, Weights& weights, int64_t layer,
                            const StepValues& step, Value x, Value past_key, Value past_value) {
  const Value attn_in = build_norm(b, config, weights, slots::attn_norm, slots::attn_norm_bias, layer, x, "attn_norm");
  AttentionResult attention = build_attention(b, config, weights, layer, step, attn_in, past_key, past_value);
  const Value after_attention = b.add(x, attention.output);
  const Value mlp_in = build_norm(b, config, weights, slots::mlp_norm, slots::mlp_norm_bias, layer,
                                  config.parallel_residual ? x : after_attention, "mlp_norm");
  attention.output = b.add(after_attention, build_mlp(b, config, weights, layer, mlp_in));
  return attention;
}

}  // namespace

void check(const DecoderConfig& config) {
  constexpr int64_t kLargest = int64_t{1} << 31;
  const auto positive = [](std::string_view name, int64_t value, int64_t limit) {
    if (value <= 0 || value > limit) {
      fail(ErrorCode::invalid_input, "config: {} is {}, expected 1 to {}", name, value, limit);
    }
  };
  positive("vocab_size", config.vocab_size, kLargest);
  positive("hidden_size", config.hidden_size, 1 << 20);
  positive("num_hidden_layers", config.num_layers, 10000);
  positive("num_attention_heads", config.num_heads, 1 << 16);
  positive("num_key_value_heads", config.num_kv_heads, 1 << 16);
  positive("head_dim", config.head_dim, 1 << 16);
  positive("intermediate_size", config.intermediate_size, 1 << 24);
  positive("max_position_embeddings", config.context_length, kLargest);
  if (config.num_heads % config.num_kv_heads != 0) {
    fail(ErrorCode::invalid_input, "config: {} attention heads do not divide into {} key-value heads", config.num_heads,
         config.num_kv_heads);
  }
  if (!(config.norm_epsilon > 0 && config.norm_epsilon < 1)) {
    fail(ErrorCode::invalid_input, "config: norm epsilon is {}, expected between 0 and 1", config.norm_epsilon);
  }
  if (config.qkv == QkvForm::per_head && config.num_kv_heads != config.num_heads) {
    fail(ErrorCode::unsupported,
         "config: query, key and value rows stored per head with {} key-value heads for {} heads", config.num_kv_heads,
         config.num_heads);
  }
  if (config.rope.dims > config.head_dim) {
    fail(ErrorCode::invalid_input, "config: rotary width {} exceeds head_dim {}", config.rope.dims, config.head_dim);
  }
}

int64_t head_dim_of(const Json& config, int64_t hidden_size, int64_t num_heads) {
  if (const auto head_dim = find_int(config, "head_dim")) return *head_dim;
  if (num_heads <= 0 || hidden_size % num_heads != 0) {
    fail(ErrorCode::invalid_input, "config: hidden_size {} does not divide into {} attention heads", hidden_size,
         num_heads);
  }
  return hidden_size / num_heads;
}

MlpKind gated_mlp(std::string_view hidden_act) {
  if (hidden_act == "silu" || hidden_act == "swish") return MlpKind::silu_gate;
  if (hidden_act == "gelu") return MlpKind::gelu_gate;
  if (hidden_act == "gelu_pytorch_tanh" || hidden_act == "gelu_new") return MlpKind::gelu_tanh_gate;
  fail(ErrorCode::unsupported, "hidden_act \"{}\" is not known for a gated MLP", hidden_act);
}

MlpKind plain_mlp(std::string_view hidden_act) {
  if (hidden_act == "gelu") return MlpKind::gelu;
  if (hidden_act == "gelu_new" || hidden_act == "gelu_fast" || hidden_act == "gelu_pytorch_tanh") {
    return MlpKind::gelu_tanh;
  }
  if (hidden_act == "silu" || hidden_act == "swish") return MlpKind::silu;
  if (hidden_act == "relu") return MlpKind::relu;
  fail(ErrorCode::unsupported, "hidden_act \"{}\" is not known", hidden_act);
}

namespace {

// Quantised weights have other names and forms than the architecture's table says; "missing tensor" would be
// true and no help.
void refuse_quantised(const Json& config) {
  const Json* quantisation = find_member(config, "quantization_config");
  if (!quantisation) return;
  const bool named = quantisation->is_object() && quantisation->contains("quant_method");
  fail(ErrorCode::unsupported, "quantization_config: {} is not supported",
       named ? (*quantisation)["quant_method"].dump() : "this form of weights");
}

ir::Model build_model(const Checkpoint& checkpoint, DType dtype) {
  const DecoderConfig config =
      with_context("config.json", [&] { return decoder_config(checkpoint.architecture(), checkpoint.config()); });
  check(config);
  Weights weights(checkpoint, config, dtype);
  ir::Graph graph("main");
  const Builder b(graph);
  const Inputs inputs = declare_inputs(graph, config, dtype);

  const Value embed = weights.get(graph, slots::embed, 0, {config.vocab_size, config.hidden_size});
  Value x = b.node("Gather", {embed, inputs.input_ids}, {{"axis", int64_t{0}}}, "embed");
  if (config.learned_positions) {
    const Value table = weights.get(graph, slots::positions, 0, {config.context_length, config.hidden_size});
    x = b.add(x, b.node("Gather", {table, inputs.position_ids}, {{"axis", int64_t{0}}}, "positions"));
  }
  const StepValues step = build_step_values(b, config, weights, inputs, dtype);

  std::vector<AttentionResult> layers;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    layers.push_back(build_layer(b.scoped(fmt::format("layers.{}", layer)), config, weights, layer, step, x,
                                 inputs.past_keys[size_t(layer)], inputs.past_values[size_t(layer)]));
    x = layers.back().output;
  }
  x = build_norm(b, config, weights, slots::final_norm, slots::final_norm_bias, 0, x, "final_norm");
  const Value head =
      config.tied_embeddings ? embed : weights.get(graph, slots::head, 0, {config.vocab_size, config.hidden_size});
  const Value head_bias = config.head_bias ? weights.get(graph, slots::head_bias, 0, {config.vocab_size}) : Value{};
  graph.add_output(b.linear(x, head, head_bias, "head"), "logits");
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    graph.add_output(layers[layer].present_key, fmt::format("present.{}.key", layer));
    graph.add_output(layers[layer].present_value, fmt::format("present.{}.value", layer));
  }
  weights.check_all_used();

  ir::Model model;
  model.contract = make_contract(checkpoint, config, natural_precision(checkpoint));
  model.graphs.emplace(graph.name(), std::move(graph));
  for (const auto& [name, text] : checkpoint.assets()) model.assets.emplace(name, ir::Asset{text});
  return model;
}

}  // namespace

Json parse_config(std::string_view text) {
  Json config = parse_json(text, "config.json");
  with_context("config.json", [&] { refuse_quantised(config); });
  return config;
}

DecoderConfig decoder_config(const Architecture& architecture, const Json& config) {
  refuse_unread_keys(config, architecture.read_keys);
  return architecture.read_config(config);
}

ir::Model build_decoder(const Checkpoint& checkpoint, DType dtype) {
  return with_context(checkpoint.path().string(), [&] { return build_model(checkpoint, dtype); });
}

contract::Precision natural_precision(const Checkpoint& checkpoint) {
  for (const std::string& name : checkpoint.tensor_names()) {
    if (checkpoint.find_tensor(name)->encoding() != tensor::Encoding::plain) return contract::Precision::q8;
  }
  for (const Slot slot : {slots::q, slots::qkv}) {
    const tensor::SourcePtr source = checkpoint.find_tensor(stored_name(checkpoint, slot, 0));
    if (source && source->dtype() == DType::f16) return contract::Precision::fp16;
    if (source && source->dtype() == DType::bf16) return contract::Precision::bf16;
  }
  return contract::Precision::fp32;
}

DType natural_dtype(const Checkpoint& checkpoint) {
  if (checkpoint.is_gguf()) return DType::f32;
  switch (natural_precision(checkpoint)) {
    case contract::Precision::fp16:
      return DType::f16;
    case contract::Precision::bf16:
      return DType::bf16;
    default:
      return DType::f32;
  }
}

}  // namespace lathe::frontend
