// What Adagrad, Adam and Momentum share: a learning rate, an update count, and for each optimised tensor its value,
// its gradient and one or two states.
#pragma once

#include <functional>
#include <span>

#include "op/op.h"

namespace lathe::op {

// Inputs: rate, count, then n values, n gradients and n of each state. Outputs: n values and n of each state.
void infer_optimizer(InferContext& context, size_t states);

struct OptimizerStep {
  double rate;
  int64_t count;
};
// New value of an element; updates its states in place.
using OptimizerUpdate = std::function<double(double value, double gradient, std::span<double> states)>;
// Reads rate and count, asks `make` for the update, and applies it to every element.
void evaluate_optimizer(EvaluateContext& context, size_t states,
                        const std::function<OptimizerUpdate(const OptimizerStep&)>& make);

}  // namespace lathe::op
