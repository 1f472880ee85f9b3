// A simple recurrent layer: H_t = f(W x_t + R H_{t-1} + biases).
#include "op/recurrent.h"

namespace lathe::op {
namespace {

void step(const Attributes&, const RecurrentDirection& d, const double* x, double* h, double*) {
  std::vector<double> next(static_cast<size_t>(d.hidden));
  for (int64_t j = 0; j < d.hidden; ++j)
    next[size_t(j)] = d.activations[0](d.from_input(0, j, x) + d.from_state(0, j, h));
  std::copy(next.begin(), next.end(), h);
}

const RecurrentCell kCell{.gates = 1, .activations = {"Tanh"}, .step = step};

}  // namespace

const OpDef& rnn_op() {
  static const OpDef def{
      .name = "RNN",
      .min_inputs = 3,
      .max_inputs = 6,
      .min_outputs = 0,
      .max_outputs = 2,
      .attributes = {{"activation_alpha", AttributeKind::reals},
                     {"activation_beta", AttributeKind::reals},
                     {"activations", AttributeKind::strings},
                     {"clip", AttributeKind::real},
                     {"direction", AttributeKind::string},
                     {"hidden_size", AttributeKind::integer},
                     {"layout", AttributeKind::integer, false, 14}},
      .infer = [](InferContext& context) { infer_recurrent(context, kCell); },
      .evaluate = [](EvaluateContext& context) { evaluate_recurrent(context, kCell); },
  };
  return def;
}

}  // namespace lathe::op
