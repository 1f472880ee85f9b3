// What RNN, GRU and LSTM share: shapes, activations, and the walk over directions, batch and time.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "op/op.h"

namespace lathe::op {

// One entry of `activations` with its alpha and beta.
struct Activation {
  double (*function)(double x, double alpha, double beta) = nullptr;
  double alpha = 0;
  double beta = 0;
  double clip = 0;
  double operator()(double x) const;  // of x clipped to [-clip, clip], if there is a clip
  double without_clip(double x) const { return function(x, alpha, beta); }
};

// The parameters of one direction.
struct RecurrentDirection {
  int64_t hidden = 0;
  int64_t width = 0;                   // of a row of X
  const double* weights = nullptr;     // [gates, hidden, width]
  const double* recurrence = nullptr;  // [gates, hidden, hidden]
  const double* bias = nullptr;        // [2, gates, hidden]: of the input, of the recurrence; or nullptr
  const double* peepholes = nullptr;   // [3, hidden]: input, output, forget; or nullptr
  std::span<const Activation> activations;
  int64_t gates = 0;

  // Row j of gate g: its product with a row of X plus its bias, and the same of a hidden state.
  double from_input(int64_t g, int64_t j, const double* x) const;
  double from_state(int64_t g, int64_t j, const double* h) const;
};

// What tells RNN, GRU and LSTM apart.
struct RecurrentCell {
  int64_t gates = 1;
  std::vector<std::string_view> activations = {};  // default, of one direction
  // One time step of one row of the batch: x [width]; h [hidden] and (LSTM only) c [hidden] in place.
  void (*step)(const Attributes&, const RecurrentDirection&, const double* x, double* h, double* c) = nullptr;
};

void infer_recurrent(InferContext& context, const RecurrentCell& cell);
void evaluate_recurrent(EvaluateContext& context, const RecurrentCell& cell);

}  // namespace lathe::op
