// How many tensors a sequence has.
#include "op/sequences.h"

namespace lathe::op {

const OpDef& sequence_length_op() {
  static const OpDef def{.name = "SequenceLength",
                         .min_inputs = 1,
                         .max_inputs = 1,
                         .infers_any = true,
                         .infer =
                             [](InferContext& context) {
                               require_sequence(context, 0);
                               context.outputs[0] = {tensor::DType::i64, {}};
                             },
                         .evaluate_data =
                             [](DataContext& context) {
                               const int64_t length = int64_t(context.inputs[0].items().size());
                               context.outputs[0] = tensor::Tensor::scalar(length);
                             }};
  return def;
}

}  // namespace lathe::op
