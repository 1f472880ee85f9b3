#include "frontend/weights.h"

#include <algorithm>

#include "base/error.h"
#include "frontend/builder.h"

namespace lathe::frontend {

using ir::Value;
using tensor::Dims;
using tensor::DType;
using tensor::Encoding;
using tensor::SourcePtr;

std::string tensor_name(const Architecture& architecture, bool gguf, Slot slot, int64_t layer) {
  for (const WeightName& weight : architecture.weights) {
    std::string name(gguf ? weight.gguf : weight.hf);
    if (weight.slot != slot || name.empty()) continue;
    if (const size_t hole = name.find("{}"); hole != std::string::npos) {
      name.replace(hole, 2, std::to_string(layer));
    }
    return name;
  }
  return {};
}

std::string stored_name(const Checkpoint& checkpoint, Slot slot, int64_t layer) {
  std::string name = tensor_name(checkpoint.architecture(), checkpoint.is_gguf(), slot, layer);
  const std::string_view prefix = checkpoint.architecture().hf_optional_prefix;
  if (checkpoint.is_gguf() || prefix.empty() || !name.starts_with(prefix) || checkpoint.find_tensor(name)) return name;
  std::string bare = name.substr(prefix.size());
  return checkpoint.find_tensor(bare) ? bare : name;
}

Weights::Weights(const Checkpoint& checkpoint, const DecoderConfig& config, DType dtype)
    : checkpoint_(checkpoint), config_(config), dtype_(dtype) {
  qkv_ = checkpoint.is_gguf() ? checkpoint.architecture().gguf_qkv : config.qkv;
}

std::optional<std::vector<float>> Weights::find_floats(Slot slot, int64_t count) {
  const SourcePtr source = find_source(slot, 0, {count});
  if (!source) return std::nullopt;
  std::vector<float> values(static_cast<size_t>(count));
  source->read_rows_f32(0, 1, values);
  return values;
}

SourcePtr Weights::find_source(Slot slot, int64_t layer, const Dims& dims) {
  const std::string name = name_of(slot, layer);
  SourcePtr source = name.empty() ? nullptr : checkpoint_.find_tensor(name);
  if (!source) return nullptr;
  used_.insert(name);
  const bool by_input = checkpoint_.architecture().hf_matrices_by_input && !checkpoint_.is_gguf() && slot.layer_matrix;
  const Dims stored_dims = by_input ? Dims{dims[1], dims[0]} : dims;
  if (source->dims() != stored_dims) {
    fail(ErrorCode::invalid_input, "tensor \"{}\": expected {}, found {}{}", name,
         tensor::to_string(std::span<const int64_t>(stored_dims)), tensor::to_string(source->dtype()),
         tensor::to_string(std::span<const int64_t>(source->dims())));
  }
  const DType stored = source->dtype();
  if (stored != DType::f32 && stored != DType::f16 && stored != DType::bf16 && stored != DType::f64) {
    fail(ErrorCode::unsupported, "tensor \"{}\": weights of type {} are not supported (f32, f16, bf16, f64)", name,
         tensor::to_string(stored));
  }
  return by_input ? tensor::transposed_source(std::move(source)) : source;
}

SourcePtr Weights::get_source(Slot slot, int64_t layer, const Dims& dims) {
  SourcePtr source = find_source(slot, layer, dims);
  if (!source) {
    const std::string name = name_of(slot, layer);
    LATHE_CHECK(!name.empty(), "architecture {} names no tensor for {} in a {}", checkpoint_.architecture().model_type,
                slot.name, checkpoint_.is_gguf() ? "GGUF" : "folder");
    fail(ErrorCode::invalid_input, "missing tensor \"{}\" {}", name, tensor::to_string(std::span<const int64_t>(dims)));
  }
  return source;
}

SourcePtr Weights::bias_source(Slot slot, Slot first, int64_t layer, const Dims& dims, std::optional<bool> expected,
                               std::string_view field) {
  SourcePtr source = find_source(slot, layer, dims);
  const std::string says = expected ? fmt::format("{} is {} for this model", field, *expected) : "";
  const bool wanted = expected ? *expected : checkpoint_.find_tensor(name_of(first, 0)) != nullptr;
  if (wanted && !source) {
    fail(ErrorCode::invalid_input, "missing tensor \"{}\" {}: {}", name_of(slot, layer),
         tensor::to_string(std::span<const int64_t>(dims)), expected ? says : "\"" + name_of(first, 0) + "\" is there");
  }
  if (!wanted && source) {
    fail(ErrorCode::invalid_input, "tensor \"{}\" has no place: {}", name_of(slot, layer),
         expected ? says : "there is no \"" + name_of(first, 0) + "\"");
  }
  return source;
}

Value Weights::constant(ir::Graph& graph, const std::string& name, SourcePtr source) {
  // GGUF stores matrices in half precision and everything around them in f32: the matrix stays as it is.
  const bool half_matrix = checkpoint_.is_gguf() && dtype_ == DType::f32 && source->dims().size() == 2 &&
                           (source->dtype() == DType::f16 || source->dtype() == DType::bf16);
  if (half_matrix) {
    const Value stored = graph.add_constant(name, std::move(source));
    return Builder(graph, name).cast(stored, DType::f32);
  }
  if (source->encoding() == Encoding::plain && source->dtype() != dtype_) {
    source = tensor::converted_source(std::move(source), dtype_);
  } else if (source->encoding() != Encoding::plain && dtype_ != DType::f32) {
    source = tensor::converted_source(std::move(source), dtype_);
  }
  return graph.add_constant(name, std::move(source));
}

Value Weights::get(ir::Graph& graph, Slot slot, int64_t layer, const Dims& dims) {
  return constant(graph, name_of(slot, layer), get_source(slot, layer, dims));
}

Value Weights::bias(ir::Graph& graph, Slot slot, int64_t layer, const Dims& dims, std::optional<bool> expected,
                    std::string_view field) {
  SourcePtr source = bias_source(slot, slot, layer, dims, expected, field);
  return source ? constant(graph, name_of(slot, layer), std::move(source)) : Value{};
}

SourcePtr Weights::projection_rows(SourcePtr stored, int index, const Dims& dims) const {
  const int64_t head_dim = config_.head_dim;
  const bool interleaved = checkpoint_.is_gguf() && checkpoint_.architecture().gguf_interleaves_rotary && index < 2;
  const int64_t q_rows = config_.num_heads * head_dim;
  const int64_t kv_rows = config_.num_kv_heads * head_dim;
  const int64_t first_row = index == 0 ? 0 : q_rows + (index - 1) * kv_rows;
  const QkvForm form = qkv_;
  if (form == QkvForm::separate && !interleaved) return stored;
  const auto map = [=](int64_t row) {
    const int64_t head = row / head_dim;
    int64_t within = row % head_dim;
    // Meta's order pairs (0,1), (2,3) ..; Hugging Face's rotates halves: row i of a half is 2i or 2i + 1
    // there.
    if (interleaved) within = within % (head_dim / 2) * 2 + within / (head_dim / 2);
    switch (form) {
      case QkvForm::separate:
        return head * head_dim + within;
      case QkvForm::concatenated:
        return first_row + head * head_dim + within;
      case QkvForm::per_head:
        return (head * 3 + index) * head_dim + within;
    }
    return int64_t{-1};
  };
  if (dims.size() > 1) return tensor::row_mapped_source(std::move(stored), dims, map);
  const Dims column = {stored->dims()[0], 1};  // a bias: rows of one element
  SourcePtr rows = tensor::row_mapped_source(tensor::reshaped_source(std::move(stored), column), {dims[0], 1}, map);
  return tensor::reshaped_source(std::move(rows), dims);
}

Weights::Projection Weights::projection(ir::Graph& graph, int index, int64_t layer) {
  static constexpr Slot kWeight[] = {slots::q, slots::k, slots::v};
  static constexpr Slot kBias[] = {slots::q_bias, slots::k_bias, slots::v_bias};
  static constexpr std::string_view kSuffix[] = {".q", ".k", ".v"};
  const bool separate = qkv_ == QkvForm::separate;
  const Slot weight_slot = separate ? kWeight[index] : slots::qkv;
  const Slot bias_slot = separate ? kBias[index] : slots::qkv_bias;
  const int64_t rows = (index == 0 ? config_.num_heads : config_.num_kv_heads) * config_.head_dim;
  const int64_t all_rows = (config_.num_heads + 2 * config_.num_kv_heads) * config_.head_dim;
  const int64_t stored_rows = separate ? rows : all_rows;
  const auto name = [&](Slot slot) {
    return name_of(slot, layer) + (separate ? std::string() : std::string(kSuffix[index]));
  };

  Projection result;
  SourcePtr weight = get_source(weight_slot, layer, {stored_rows, config_.hidden_size});
  result.weight =
      constant(graph, name(weight_slot), projection_rows(std::move(weight), index, {rows, config_.hidden_size}));
  const Slot first = separate ? slots::q_bias : slots::qkv_bias;
  if (SourcePtr bias = bias_source(bias_slot, first, layer, {stored_rows}, config_.attention_bias, "attention_bias")) {
    result.bias = constant(graph, name(bias_slot), projection_rows(std::move(bias), index, {rows}));
  }
  return result;
}

void Weights::check_all_used() const {
  const Architecture& architecture = checkpoint_.architecture();
  for (const std::string& name : checkpoint_.tensor_names()) {
    if (used_.count(name)) continue;
    if (config_.tied_embeddings && name == name_of(slots::head, 0)) continue;
    const bool ignored = std::any_of(architecture.ignored_suffixes.begin(), architecture.ignored_suffixes.end(),
                                     [&](std::string_view suffix) { return name.ends_with(suffix); });
    if (ignored) continue;
    fail(ErrorCode::invalid_input, "tensor \"{}\" {} has no place in {} with {} layers", name,
         tensor::to_string(std::span<const int64_t>(checkpoint_.find_tensor(name)->dims())), architecture.model_type,
         config_.num_layers);
  }
}

}  // namespace lathe::frontend
