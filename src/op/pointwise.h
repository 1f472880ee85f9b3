// Programs of elementwise f32 operators in one line of text a step: what lathe.Pointwise computes, and the activations
// of lathe.Conv.
//
// A step is an operator's name and its arguments: numbers of values (the inputs first, then the results of the steps
// before), or `#` and a number: "Mul 0 1", "Clip 2 #0 #6", "LeakyRelu 3 #0.1".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "op/attributes.h"
#include "tensor/tensor.h"

namespace lathe::op {

struct PointwiseArgument {
  int64_t value = -1;  // -1: the number
  double number = 0;
  friend bool operator==(const PointwiseArgument&, const PointwiseArgument&) = default;
};

struct PointwiseStep {
  std::string op;
  std::vector<PointwiseArgument> arguments;
};

// An elementwise operator that steps may have: ONNX's operator, how many arguments are values or numbers to compute
// with, and which attributes follow as numbers.
struct PointwiseOp {
  std::string_view name;
  std::string_view op;  // "Gelu" for "GeluTanh"
  int operands;
  std::vector<std::pair<std::string_view, double>> parameters = {};  // attribute and default
};
const PointwiseOp* find_pointwise(std::string_view name);
// The step that a node is, arguments 0, 1, ... being its inputs; nullopt for what no step can be. Numbers for inputs 1
// and 2 of Clip are asked of `number` (input -> its only element, where it is a constant).
std::optional<PointwiseStep> pointwise_of(std::string_view op, const Attributes& attributes, size_t inputs);

std::string to_string(const PointwiseStep& step);
// Throws invalid_input for text that is no step, and for values from `values` on.
PointwiseStep parse_step(std::string_view text, int64_t values);
// All the steps of a program with so many inputs.
std::vector<PointwiseStep> parse_steps(const std::vector<std::string>& texts, int64_t inputs);
// The step by ONNX's own operator; `values` are those before it.
tensor::Tensor evaluate_step(const PointwiseStep& step, const std::vector<tensor::Tensor>& values);

}  // namespace lathe::op
