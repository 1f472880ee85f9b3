#include "opt/channels.h"

#include <algorithm>
#include <cmath>

#include "opt/linear.h"
#include "tensor/source.h"

namespace lathe::opt {

using ir::Value;
using tensor::Tensor;

namespace {

class ScaledSource final : public tensor::Source {
 public:
  ScaledSource(tensor::SourcePtr base, std::vector<double> scale, bool by_column)
      : Source(tensor::DType::f32, tensor::Encoding::plain, base->dims(), base->origin()),
        base_(std::move(base)),
        scale_(std::move(scale)),
        by_column_(by_column) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    base_->read_rows(first, count, out);
    if (count == 0) return;
    const int64_t width = row_elements();
    const int64_t rows_each = by_column_ ? 1 : std::max<int64_t>(1, rows() / int64_t(scale_.size()));
    auto* row = reinterpret_cast<float*>(out.data());
    for (int64_t r = first; r < first + count; ++r, row += width) {
      for (int64_t i = 0; i < width; ++i) {
        row[i] = float(double(row[i]) * scale_[size_t(by_column_ ? i : r / rows_each)]);
      }
    }
  }

  void drop_rows(int64_t first, int64_t count) const override { base_->drop_rows(first, count); }

 private:
  tensor::SourcePtr base_;
  std::vector<double> scale_;
  bool by_column_;
};

}  // namespace

tensor::SourcePtr scaled_rows(tensor::SourcePtr base, std::vector<double> scale) {
  return std::make_shared<ScaledSource>(std::move(base), std::move(scale), false);
}

tensor::SourcePtr scaled_columns(tensor::SourcePtr base, std::vector<double> scale) {
  return std::make_shared<ScaledSource>(std::move(base), std::move(scale), true);
}

std::optional<ScaleShift> find_batch_normalization(const ir::Graph& graph, const ir::Node& node) {
  if (node.outputs.size() != 1 || node.attributes.get_int("training_mode", 0) != 0) return std::nullopt;
  std::vector<std::vector<double>> numbers;  // scale, bias, mean, variance
  for (size_t i = 1; i < 5; ++i) {
    auto values = constant_numbers(graph, node.inputs[i]);
    if (!values || (i > 1 && values->size() != numbers[0].size())) return std::nullopt;
    numbers.push_back(std::move(*values));
  }
  const double epsilon = node.attributes.get_float("epsilon", 1e-5);
  ScaleShift result;
  for (size_t f = 0; f < numbers[0].size(); ++f) {
    result.scale.push_back(numbers[0][f] / std::sqrt(numbers[3][f] + epsilon));
    result.shift.push_back(numbers[1][f] - numbers[2][f] * result.scale.back());
  }
  return result;
}

std::optional<std::vector<double>> constant_numbers(const ir::Graph& graph, Value value) {
  if (!graph.is_constant(value) || graph.type(value).dtype != tensor::DType::f32) return std::nullopt;
  const Tensor tensor = tensor::load(*graph.source(value));
  const auto floats = tensor.data<float>();
  return std::vector<double>(floats.begin(), floats.end());
}

std::optional<std::vector<double>> channel_numbers(const ir::Graph& graph, Value value, size_t rank, int64_t channels) {
  const tensor::Shape& shape = graph.type(value).shape;
  if (!graph.is_constant(value) || shape.size() > rank) return std::nullopt;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool is_channels = rank - shape.size() + i == 1 && shape[i] == tensor::Dim(channels);
    if (!is_channels && shape[i] != tensor::Dim(1)) return std::nullopt;
  }
  auto numbers = constant_numbers(graph, value);
  if (numbers && numbers->size() == 1) numbers->resize(size_t(channels), numbers->front());
  return numbers;
}

std::optional<ConstantConv> find_constant_conv(const ir::Graph& graph, Value value) {
  const ir::Node* node = find_producer(graph, value, "Conv");
  if (!node || !used_once(graph, value)) return std::nullopt;
  for (size_t i = 1; i < node->inputs.size(); ++i) {
    if (node->inputs[i] && !graph.is_constant(node->inputs[i])) return std::nullopt;
  }
  const op::TypeInfo& w = graph.type(node->inputs[1]);
  const auto features = w.shape.at(0).constant();
  if (w.dtype != tensor::DType::f32 || !features) return std::nullopt;
  return ConstantConv{*node, *features};
}

bool miss_of_conv(const ir::Graph& graph, Value value, RuleContext& context) {
  const ir::Node* node = find_producer(graph, value, "Conv");
  if (!node) return false;
  if (!used_once(graph, value)) return context.miss("the convolution's result is read by others, too");
  if (graph.type(value).dtype != tensor::DType::f32) {
    return context.miss("the convolution is in {}", to_string(graph.type(value).dtype));
  }
  return context.miss("the convolution's weights or bias are not constant");
}

bool replace_with_scaled(ir::Graph& graph, ir::NodeId at, const ConstantConv& conv, const std::vector<double>& scale,
                         const std::vector<double>& shift) {
  const Value w = conv.node.inputs[1];
  const Value bias = conv.node.inputs.size() > 2 ? conv.node.inputs[2] : Value{};
  const std::string w_name = graph.source_name(w) + ".scaled";
  const std::string bias_name = (bias ? graph.source_name(bias) : graph.source_name(w) + ".bias") + ".scaled";
  const tensor::SourcePtr& weights = graph.source(w);
  const std::vector<double> biases =
      bias ? *constant_numbers(graph, bias) : std::vector<double>(size_t(conv.features), 0.0);
  Tensor new_biases(tensor::DType::f32, {conv.features});
  const bool plain = weights->encoding() == tensor::Encoding::plain;
  const tensor::SourcePtr f32 = plain ? weights : tensor::memory_source(tensor::load(*weights), w_name);
  for (size_t f = 0; f < biases.size(); ++f) new_biases.data<float>()[f] = float(biases[f] * scale[f] + shift[f]);
  const Value scaled = graph.add_constant(w_name, scaled_rows(f32, scale));
  const Value shifted = graph.add_constant(bias_name, new_biases);
  return replace_with(graph, at, "Conv", {conv.node.inputs[0], scaled, shifted}, conv.node.attributes);
}

}  // namespace lathe::opt
