#include "op/optimizers.h"

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

constexpr size_t kFirst = 2;  // rate and count come before

}  // namespace

void infer_optimizer(InferContext& context, size_t states) {
  const size_t roles = states + 2;
  require(context, 0, kF32 | kF64);
  require_dtype(context, 1, DType::i64);
  for (size_t i = 0; i < kFirst; ++i) {
    const auto count = tensor::element_count(context.input(i).shape).constant();
    if (count && *count != 1) bad(context, "input {}: expected a scalar, found {}", i, to_string(context.input(i)));
  }
  const size_t tensors = (context.inputs.size() - kFirst) / roles;
  if (tensors == 0 || tensors * roles + kFirst != context.inputs.size())
    bad(context, "expected 2 and a multiple of {} inputs, found {}", roles, context.inputs.size());
  if (context.outputs.size() != tensors * (states + 1))
    bad(context, "expected {} outputs, found {}", tensors * (states + 1), context.outputs.size());
  for (size_t t = 0; t < tensors; ++t) {
    const TypeInfo& value = require(context, kFirst + t, kF32 | kF64);
    for (size_t role = 1; role < roles; ++role) {
      const size_t i = kFirst + role * tensors + t;
      require_same_dtype(context, kFirst + t, i);
      require_rank(context, i, value.shape.size());
      for (size_t d = 0; d < value.shape.size(); ++d)
        require_dims_agree(context, fmt::format("inputs {} and {}", kFirst + t, i), value.shape[d],
                           context.input(i).shape[d]);
    }
    for (size_t role = 0; role <= states; ++role)
      context.outputs[role * tensors + t] = {value.dtype, value.shape, std::nullopt};
  }
}

void evaluate_optimizer(EvaluateContext& context, size_t states,
                        const std::function<OptimizerUpdate(const OptimizerStep&)>& make) {
  const OptimizerUpdate update = make({load_double(context.inputs[0]), load_int(context.inputs[1])});
  const size_t tensors = (context.inputs.size() - kFirst) / (states + 2);
  for (size_t t = 0; t < tensors; ++t) {
    const auto input = [&](size_t role) { return load<double>(context.inputs[kFirst + role * tensors + t]); };
    std::vector<double> values = input(0);
    const std::vector<double> gradients = input(1);
    std::vector<std::vector<double>> state;
    for (size_t s = 0; s < states; ++s) state.push_back(input(2 + s));
    std::vector<double> of_element(states);
    for (size_t i = 0; i < values.size(); ++i) {
      for (size_t s = 0; s < states; ++s) of_element[s] = state[s][i];
      values[i] = update(values[i], gradients[i], of_element);
      for (size_t s = 0; s < states; ++s) state[s][i] = of_element[s];
    }
    const tensor::Tensor& x = context.inputs[kFirst + t];
    context.outputs[t] = store(x.dtype(), x.dims(), values);
    for (size_t s = 0; s < states; ++s) context.outputs[(s + 1) * tensors + t] = store(x.dtype(), x.dims(), state[s]);
  }
}

}  // namespace lathe::op
