// What the rules that find normalisations share: x / sqrt(mean(x^2) + epsilon) in the ways exporters spell it.
#pragma once

#include <optional>

#include "ir/graph.h"

namespace lathe::opt {

// x / sqrt(mean(x^2, last axis) + epsilon).
struct Normalized {
  ir::Value x;
  double epsilon = 0;
};
// Division by the root, or product with its inverse. The operators of ONNX compute this part in f32: for values of a
// narrower type, whose steps round, they are something else.
std::optional<Normalized> find_normalized(const ir::Graph& graph, ir::Value value);

// x where `value` is x - mean(x, last axis); absent if it is something else.
ir::Value find_centred(const ir::Graph& graph, ir::Value value);

// Whether `vector` has one element for each along the last axis of x.
bool is_along_last_axis(const ir::Graph& graph, ir::Value vector, ir::Value x);

}  // namespace lathe::opt
