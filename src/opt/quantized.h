// What the lowerings of quantised operators share: reading DequantizeLinear, and building lathe.QConv and
// lathe.QLinear.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "op/quantized_product.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {

// The elements of a constant of any numeric type, where there are at most `most`.
std::optional<std::vector<double>> number_list(const ir::Graph& graph, ir::Value value, int64_t most = 1 << 24);
bool is_byte(const ir::Graph& graph, ir::Value value);
// One element, of rank 0 or 1.
bool is_single(const ir::Graph& graph, ir::Value value);

// DequantizeLinear of integers to f32, without blocks: x, its scale, its zero point (may be absent) and the axis that
// scales belong to where there are several.
struct Dequantized {
  ir::Value x, scale, zero;
  int64_t axis = 0;
};
std::optional<Dequantized> find_dequantized(const ir::Graph& graph, ir::Value value);
// The same of bytes with one scale.
std::optional<Dequantized> find_dequantized_bytes(const ir::Graph& graph, ir::Value value);
// Constant bytes with a constant scale and zero point, for all or for each index of `axis`.
std::optional<Dequantized> find_dequantized_weights(const ir::Graph& graph, ir::Value value, int64_t axis);

// QuantizeLinear to bytes with one constant f32 scale and zero point, rounded in f32.
struct Quantise {
  double scale;
  ir::Value zero;  // may be absent
  double zero_number;
};
std::optional<Quantise> find_quantize(const ir::Graph& graph, const ir::Node& node);
// The zero point, or a new constant of 0 in the type of the node's result.
ir::Value zero_point(ir::Graph& graph, const ir::Node& quantize);

// The inputs of lathe.QConv or lathe.QLinear by role (op::QuantizedInput).
struct Quantized {
  std::string op;
  std::array<ir::Value, op::kQInputs> inputs;
  op::Attributes attributes;

  ir::Value& operator[](size_t i) { return inputs[i]; }
  bool has(size_t i) const { return bool(inputs[i]); }
  std::vector<ir::Value> list() const;  // without absent ones at the end
  bool gives_sums() const { return !has(op::kQScale); }
  bool gives_floats() const { return has(op::kQScale) && !has(op::kQYZero); }
};
// The one that computes `value`, if one does and nothing else reads it.
std::optional<Quantized> find_quantized(const ir::Graph& graph, ir::Value value);
bool replace_with(ir::Graph& graph, ir::NodeId node, const Quantized& quantized);

// A constant that meets a result of this one at its features and nowhere else, as a vector: one element, or one for
// each feature. nullopt where it is something else.
std::optional<std::vector<double>> feature_numbers(const ir::Graph& graph, const Quantized& quantized, ir::Value value,
                                                   size_t rank, tensor::DType dtype = tensor::DType::f32);
// A constant f32[n].
ir::Value constant_floats(ir::Graph& graph, const std::string& name, const std::vector<double>& values);

// float(a * b) for each feature, where both may have one element for all.
std::vector<double> product_in_f32(const std::vector<double>& a, const std::vector<double>& b);

// What DequantizeLinear -> Conv, MatMul or Gemm -> is: sets scale and bias of `quantized` from those of x and w and a
// bias that is absent, a vector of f32, or i32 dequantised. False where it is something else; constants are only added
// where it returns true.
bool set_scale_and_bias(ir::Graph& graph, Quantized& quantized, const Dequantized& x, const Dequantized& w,
                        ir::Value bias);

}  // namespace lathe::opt
