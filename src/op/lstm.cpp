// A long short-term memory layer. Gates in the order of the weights: input i, output o, forget f, cell c.
//   i = f(Wi x + Ri H + Pi C),  f = f(Wf x + Rf H + Pf C),  C' = f C + i g(Wc x + Rc H)
//   o = f(Wo x + Ro H + Po C'),  H' = o h(C')
// input_forget couples the two: f = 1 - i. `clip` bounds what enters f and g, not the C' that enters h, as in ONNX
// Runtime (the specification leaves it open).
#include "op/recurrent.h"

namespace lathe::op {
namespace {

enum Gate : int64_t { kInput, kOutput, kForget, kCellGate };

void step(const Attributes& attributes, const RecurrentDirection& d, const double* x, double* h, double* c) {
  const bool coupled = attributes.get_int("input_forget", 0) != 0;
  std::vector<double> next(static_cast<size_t>(d.hidden));
  for (int64_t j = 0; j < d.hidden; ++j) {
    // What enters a gate; peepholes are ordered as the gates are.
    const auto sum = [&](int64_t gate) { return d.from_input(gate, j, x) + d.from_state(gate, j, h); };
    const auto peep = [&](int64_t gate) { return d.peepholes ? d.peepholes[gate * d.hidden + j] * c[j] : 0; };
    const Activation& f = d.activations[0];
    const double input = f(sum(kInput) + peep(kInput));
    const double forget = coupled ? 1 - input : f(sum(kForget) + peep(kForget));
    c[j] = forget * c[j] + input * d.activations[1](sum(kCellGate));
    next[size_t(j)] = f(sum(kOutput) + peep(kOutput)) * d.activations[2].without_clip(c[j]);
  }
  std::copy(next.begin(), next.end(), h);
}

const RecurrentCell kCell{.gates = 4, .activations = {"Sigmoid", "Tanh", "Tanh"}, .step = step};

}  // namespace

const OpDef& lstm_op() {
  static const OpDef def{
      .name = "LSTM",
      .min_inputs = 3,
      .max_inputs = 8,
      .min_outputs = 0,
      .max_outputs = 3,
      .attributes = {{"activation_alpha", AttributeKind::reals},
                     {"activation_beta", AttributeKind::reals},
                     {"activations", AttributeKind::strings},
                     {"clip", AttributeKind::real},
                     {"direction", AttributeKind::string},
                     {"hidden_size", AttributeKind::integer},
                     {"input_forget", AttributeKind::integer},
                     {"layout", AttributeKind::integer, false, 14}},
      .infer = [](InferContext& context) { infer_recurrent(context, kCell); },
      .evaluate = [](EvaluateContext& context) { evaluate_recurrent(context, kCell); },
  };
  return def;
}

}  // namespace lathe::op
