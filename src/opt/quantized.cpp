#include "opt/quantized.h"

#include <cmath>

#include "opt/linear.h"
#include "tensor/source.h"

namespace lathe::opt {

using ir::Value;
using tensor::DType;
using tensor::Tensor;

std::optional<std::vector<double>> number_list(const ir::Graph& graph, Value value, int64_t most) {
  if (!graph.is_constant(value) || graph.source(value)->encoding() != tensor::Encoding::plain) return std::nullopt;
  const DType dtype = graph.type(value).dtype;
  if (!tensor::is_float(dtype) && !tensor::is_integer(dtype)) return std::nullopt;
  if (tensor::element_count(std::span(graph.source(value)->dims())) > most) return std::nullopt;
  const Tensor tensor = tensor::load(*graph.source(value));
  std::vector<double> numbers(size_t(tensor.size()));
  for (int64_t i = 0; i < tensor.size(); ++i) numbers[size_t(i)] = tensor::element_as_double(tensor, i);
  return numbers;
}

bool is_byte(const ir::Graph& graph, Value value) {
  const DType dtype = graph.type(value).dtype;
  return dtype == DType::u8 || dtype == DType::i8;
}

bool is_single(const ir::Graph& graph, Value value) {
  const op::TypeInfo& type = graph.type(value);
  return type.is_plain() && type.shape.size() <= 1 && tensor::element_count(type.shape) == tensor::Dim(1);
}

std::optional<Dequantized> find_dequantized(const ir::Graph& graph, Value value) {
  const ir::Node* node = value ? find_producer(graph, value, "DequantizeLinear") : nullptr;
  if (!node || graph.type(value).dtype != DType::f32 || node->attributes.get_int("block_size", 0) != 0)
    return std::nullopt;
  Dequantized found{node->inputs[0], node->inputs[1], node->inputs.size() > 2 ? node->inputs[2] : Value{}};
  if (!tensor::is_integer(graph.type(found.x).dtype) || graph.type(found.scale).dtype != DType::f32)
    return std::nullopt;
  found.axis = node->attributes.get_int("axis", 1);
  const auto rank = int64_t(graph.type(found.x).shape.size());
  if (found.axis < 0) found.axis += rank;
  return found;
}

std::optional<Dequantized> find_dequantized_bytes(const ir::Graph& graph, Value value) {
  const auto found = find_dequantized(graph, value);
  const bool one = found && is_byte(graph, found->x) && is_single(graph, found->scale);
  return one && (!found->zero || is_single(graph, found->zero)) ? found : std::nullopt;
}

std::optional<Dequantized> find_dequantized_weights(const ir::Graph& graph, Value value, int64_t axis) {
  const auto found = find_dequantized(graph, value);
  if (!found || !is_byte(graph, found->x) || !graph.is_constant(found->x)) return std::nullopt;
  if (!graph.is_constant(found->scale) || (found->zero && !graph.is_constant(found->zero))) return std::nullopt;
  if (graph.source(found->x)->encoding() != tensor::Encoding::plain) return std::nullopt;
  if (!is_single(graph, found->scale) && found->axis != axis) return std::nullopt;
  return found;
}

std::optional<Quantise> find_quantize(const ir::Graph& graph, const ir::Node& node) {
  const Value zero = node.inputs.size() > 2 ? node.inputs[2] : Value{};
  if (node.op != "QuantizeLinear" || !is_byte(graph, node.outputs[0])) return std::nullopt;
  if (node.attributes.has("precision")) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    if (graph.type(node.inputs[i]).dtype != DType::f32) return std::nullopt;
  }
  if (!is_single(graph, node.inputs[1]) || (zero && !is_single(graph, zero))) return std::nullopt;
  const auto scale = number_list(graph, node.inputs[1]);
  const auto number = zero ? number_list(graph, zero) : std::vector<double>{0};
  if (!scale || !number || !(scale->front() > 0)) return std::nullopt;
  return Quantise{scale->front(), zero, number->front()};
}

Value zero_point(ir::Graph& graph, const ir::Node& quantize) {
  if (quantize.inputs.size() > 2 && quantize.inputs[2]) return quantize.inputs[2];
  Tensor zero(graph.type(quantize.outputs[0]).dtype, {});
  zero.mutable_bytes()[0] = std::byte{0};
  return graph.add_constant("zero", std::move(zero));
}

std::vector<Value> Quantized::list() const {
  std::vector<Value> result(inputs.begin(), inputs.end());
  while (!result.back()) result.pop_back();
  return result;
}

std::optional<Quantized> find_quantized(const ir::Graph& graph, Value value) {
  for (const char* op : {"lathe.QConv", "lathe.QLinear"}) {
    const ir::Node* node = find_producer(graph, value, op);
    if (!node || !used_once(graph, value)) continue;
    Quantized found{op, {}, node->attributes};
    std::copy(node->inputs.begin(), node->inputs.end(), found.inputs.begin());
    return found;
  }
  return std::nullopt;
}

bool replace_with(ir::Graph& graph, ir::NodeId node, const Quantized& quantized) {
  return replace_with(graph, node, quantized.op, quantized.list(), quantized.attributes);
}

std::optional<std::vector<double>> feature_numbers(const ir::Graph& graph, const Quantized& quantized, Value value,
                                                   size_t rank, DType dtype) {
  const tensor::Shape& shape = graph.type(value).shape;
  const size_t axis = quantized.op == "lathe.QConv" ? 1 : rank - 1;
  const tensor::Dim features = graph.type(quantized.inputs[op::kQWeights]).shape[0];
  if (shape.size() > rank || graph.type(value).dtype != dtype) return std::nullopt;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool fits = rank - shape.size() + i == axis && shape[i] == features;
    if (!fits && shape[i] != tensor::Dim(1)) return std::nullopt;
  }
  return number_list(graph, value);
}

Value constant_floats(ir::Graph& graph, const std::string& name, const std::vector<double>& values) {
  Tensor tensor(DType::f32, {int64_t(values.size())});
  for (size_t i = 0; i < values.size(); ++i) tensor.data<float>()[i] = float(values[i]);
  return graph.add_constant(name, std::move(tensor));
}

std::vector<double> product_in_f32(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result(std::max(a.size(), b.size()));
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = double(float(a[a.size() == 1 ? 0 : i]) * float(b[b.size() == 1 ? 0 : i]));
  }
  return result;
}

namespace {

// A bias whose scales are the products' own is added to the sums, exactly; any other one to the floats.
struct Bias {
  Value whole;
  std::vector<double> floats;
};
std::optional<Bias> read_bias(const ir::Graph& graph, Value bias, const tensor::Dim& features,
                              const std::vector<double>* scales) {
  if (graph.type(bias).shape != tensor::Shape{features}) return std::nullopt;
  if (graph.is_constant(bias)) {
    if (graph.type(bias).dtype != DType::f32) return std::nullopt;
    return Bias{{}, *number_list(graph, bias)};
  }
  const auto found = find_dequantized(graph, bias);
  if (!found || graph.type(found->x).dtype != DType::i32) return std::nullopt;
  const auto values = number_list(graph, found->x), own = number_list(graph, found->scale);
  if (!values || !own || (found->zero && !all_equal(graph, found->zero, 0))) return std::nullopt;
  bool same = scales != nullptr;
  Bias result{found->x, {}};
  for (size_t i = 0; i < values->size(); ++i) {
    const double scale = (*own)[own->size() == 1 ? 0 : i];
    if (scales) {
      const double expected = (*scales)[scales->size() == 1 ? 0 : i];
      same &= std::abs(scale - expected) <= 1e-6 * std::abs(expected);
    }
    result.floats.push_back(double(float((*values)[i] * scale)));
  }
  if (!same) result.whole = {};
  return result;
}

}  // namespace

bool set_scale_and_bias(ir::Graph& graph, Quantized& quantized, const Dequantized& x, const Dequantized& w,
                        Value bias) {
  const auto w_scales = number_list(graph, w.scale);
  const auto x_scale = number_list(graph, x.scale);  // nullopt: only the run knows it
  if (!w_scales || w_scales->empty()) return false;
  const tensor::Dim features = graph.type(quantized[op::kQWeights]).shape[0];
  const std::vector<double> scales = x_scale ? product_in_f32(*w_scales, *x_scale) : *w_scales;
  std::optional<Bias> read;
  if (bias) {
    read = read_bias(graph, bias, features, x_scale ? &scales : nullptr);
    if (!read) return false;
  }
  const std::string name = graph.source_name(w.x);  // a copy: adding constants moves names
  quantized[op::kQXZero] = x.zero;
  quantized[op::kQWZero] = w.zero;
  if (!x_scale) quantized[op::kQXScale] = x.scale;
  if (read) quantized[op::kQBias] = read->whole ? read->whole : constant_floats(graph, name + ".bias", read->floats);
  quantized[op::kQScale] = constant_floats(graph, name + ".scale", scales);
  return true;
}

}  // namespace lathe::opt
