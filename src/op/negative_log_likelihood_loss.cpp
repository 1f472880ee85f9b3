// The weighted negative log likelihood of each sample's class, given log probabilities; summed or averaged if asked.
#include "op/class_losses.h"
#include "op/values.h"

namespace lathe::op {
const OpDef& negative_log_likelihood_loss_op() {
  static const OpDef def{
      .name = "NegativeLogLikelihoodLoss",
      .min_inputs = 2,
      .max_inputs = 3,
      .attributes = {{"ignore_index", AttributeKind::integer}, {"reduction", AttributeKind::string}},
      .infer = infer_class_loss,
      .evaluate = [](EvaluateContext& context) { evaluate_class_loss(context, load<double>(context.inputs[0])); },
  };
  return def;
}

}  // namespace lathe::op
