// A cache with a run of its sequence axis overwritten, from an index of each batch row's own; "circular"
// wraps.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_tensor_scatter(InferContext& context) {
  const TypeInfo& cache = require(context, 0, kAny);
  const TypeInfo& update = require(context, 1, kAny);
  require_same_dtype(context, 0, 1);
  const size_t axis = axis_index(context, context.attributes.get_int("axis", -2), cache.shape.size());
  if (axis == 0) bad(context, "axis 0 is the batch");
  require_rank(context, 1, cache.shape.size());
  for (size_t i = 0; i < cache.shape.size(); ++i) {
    const auto spare = (cache.shape[i] - update.shape[i]).constant();
    if (i == axis && spare && *spare < 0)
      bad(context, "update {} is longer than {}", to_string(update), to_string(cache));
    if (i != axis)
      require_dims_agree(context, fmt::format("dimension {}", i), cache.shape[i], update.shape[i]);
  }
  if (context.has_input(2)) {
    require_dtype(context, 2, tensor::DType::i64);
    require_rank(context, 2, 1);
    require_dims_agree(context, "write_indices", context.input(2).shape[0], cache.shape[0]);
  }
  const std::string mode = context.attributes.get_string("mode", "linear");
  if (mode != "linear" && mode != "circular")
    bad(context, "mode: expected linear or circular, found {}", mode);
  context.outputs[0] = {cache.dtype, cache.shape, std::nullopt};
}

void evaluate_tensor_scatter(EvaluateContext& context) {
  const tensor::Tensor& update = context.inputs[1];
  tensor::Tensor result = clone(context.inputs[0]);
  const tensor::Dims& dims = result.dims();
  const size_t axis = axis_index(context.attributes.get_int("axis", -2), result.rank());
  const bool circular = context.attributes.get_string("mode", "linear") == "circular";
  std::vector<int64_t> starts(static_cast<size_t>(dims[0]), 0);
  if (context.has_input(2)) starts = load<int64_t>(context.inputs[2]);
  const int64_t length = dims[axis];
  const int64_t run = update.dims()[axis];
  for (int64_t& start : starts) {
    if (start < 0 || (!circular && start > length - run)) {
      fail(ErrorCode::invalid_input, "TensorScatter: {} entries at {} of {}", run, start, length);
    }
    if (circular && length > 0) start %= length;
  }
  const int64_t inner = count_of(dims, axis + 1, dims.size());
  const int64_t groups = count_of(dims, 1, axis);  // heads, between batch and sequence
  ElementCopier copier(update, result);
  for (int64_t from = 0; from < update.size(); ++from) {
    const int64_t group = from / inner / run;
    const int64_t index = (starts[size_t(group / groups)] + from / inner % run) % length;
    copier.copy(from, (group * length + index) * inner + from % inner);
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& tensor_scatter_op() {
  static const OpDef def{
      .name = "TensorScatter",
      .min_inputs = 2,
      .max_inputs = 3,
      .attributes = {{"axis", AttributeKind::integer}, {"mode", AttributeKind::string}},
      .since = 24,
      .infer = infer_tensor_scatter,
      .evaluate = evaluate_tensor_scatter,
  };
  return def;
}

}  // namespace lathe::op
