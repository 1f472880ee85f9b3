#include "op/normalization.h"

namespace lathe::op {

void require_channel_vector(const InferContext& context, size_t i, const tensor::Dim& length) {
  require(context, i, kFloat);
  require_rank(context, i, 1);
  require_dims_agree(context, fmt::format("input {}: channels", i), context.input(i).shape[0], length);
}

double read_epsilon(const Attributes& attributes) {
  return float(attributes.get_float("epsilon", 1e-5f));
}

}  // namespace lathe::op
