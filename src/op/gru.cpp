// A gated recurrent unit. Gates in the order of the weights: update z, reset r, hidden h.
//   z = f(Wz x + Rz H),  r = f(Wr x + Rr H),  H' = (1 - z) g(Wh x + Rh (r H)) + z H
// With linear_before_reset, r multiplies Rh H and its bias instead of H.
#include "op/recurrent.h"

namespace lathe::op {
namespace {

enum Gate : int64_t { kUpdate, kReset, kHidden };

void step(const Attributes& attributes, const RecurrentDirection& d, const double* x, double* h, double*) {
  const bool linear_first = attributes.get_int("linear_before_reset", 0) != 0;
  const Activation& f = d.activations[0];
  const Activation& g = d.activations[1];
  const size_t hidden = size_t(d.hidden);
  std::vector<double> reset(hidden), kept(hidden), next(hidden);
  for (int64_t j = 0; j < d.hidden; ++j) {
    reset[size_t(j)] = f(d.from_input(kReset, j, x) + d.from_state(kReset, j, h));
    kept[size_t(j)] = reset[size_t(j)] * h[j];
  }
  for (int64_t j = 0; j < d.hidden; ++j) {
    const double update = f(d.from_input(kUpdate, j, x) + d.from_state(kUpdate, j, h));
    const double state =
        linear_first ? reset[size_t(j)] * d.from_state(kHidden, j, h) : d.from_state(kHidden, j, kept.data());
    next[size_t(j)] = (1 - update) * g(d.from_input(kHidden, j, x) + state) + update * h[j];
  }
  std::copy(next.begin(), next.end(), h);
}

const RecurrentCell kCell{.gates = 3, .activations = {"Sigmoid", "Tanh"}, .step = step};

}  // namespace

const OpDef& gru_op() {
  static const OpDef def{
      .name = "GRU",
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
                     {"layout", AttributeKind::integer, false, 14},
                     {"linear_before_reset", AttributeKind::integer}},
      .infer = [](InferContext& context) { infer_recurrent(context, kCell); },
      .evaluate = [](EvaluateContext& context) { evaluate_recurrent(context, kCell); },
  };
  return def;
}

}  // namespace lathe::op
