// DynamicQuantizeLSTM: an LSTM whose weights are bytes. What ONNX Runtime multiplies them with it rounds to bytes, step
// by step, to be faster; here it stays as it is.
#include "base/error.h"
#include "frontend/contrib.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

enum Input : size_t { kX, kW, kR, kB, kLengths, kH, kC, kP, kWScale, kWZero, kRScale, kRZero };

// Bytes [directions, columns, 4 hidden] with a scale for each direction, or for each of its rows too, as the floats
// [directions, 4 hidden, columns] that LSTM takes.
Value weights(const ContribNode& n, size_t bytes, size_t scale, size_t zero) {
  const Builder& b = n.b;
  n.require_rank(bytes, {3});
  n.require_rank(scale, {1, 2});
  const bool by_row = n.rank(scale) == 2;
  const auto placed = [&](Value value) {
    return by_row ? b.unsqueeze(value, {1}) : b.reshape(value, {-1, 1, 1});
  };
  Value whole = b.cast(n.in(bytes), DType::f32);
  if (n.has(zero)) whole = b.sub(whole, placed(b.cast(n.in(zero), DType::f32)));
  return b.transpose(b.mul(whole, placed(n.in(scale))), {0, 2, 1});
}

Results dynamic_quantize_lstm(const ContribNode& n) {
  if (n.dtype(kX) != DType::f32) n.refuse_input(kX, "expected f32");
  std::vector<Value> inputs = {n.in(kX), weights(n, kW, kWScale, kWZero), weights(n, kR, kRScale, kRZero)};
  for (const size_t i : {kB, kLengths, kH, kC, kP}) inputs.push_back(n.in(i));
  return n.b.nodes("LSTM", std::move(inputs), n.attributes(), n.outputs());
}

constexpr ContribOp kOps[] = {
    {.name = "DynamicQuantizeLSTM",
     .inputs = "X W R B? sequence_lens? initial_h? initial_c? P? W_scale W_zero_point? R_scale R_zero_point?",
     .attributes = "activation_alpha activation_beta activations clip direction hidden_size input_forget",
     .outputs = 3,
     .expand = dynamic_quantize_lstm},
};

}  // namespace

std::span<const ContribOp> dynamic_quantize_lstm_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
