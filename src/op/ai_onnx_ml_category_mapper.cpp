// Texts to the integers that stand for them, or integers to texts.
#include "op/ml.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

void infer_category_mapper(InferContext& context) {
  const TypeInfo& x = require(context, 0, kString | kSigned);
  if (x.dtype != DType::string) require_dtype(context, 0, DType::i64);
  require_length(context.op, "cats_strings", get_list<std::string>(context.attributes, "cats_strings").size(),
                 int64_t(get_list<int64_t>(context.attributes, "cats_int64s").size()));
  if (!context.attributes.has("cats_strings")) bad(context, "no cats_strings and cats_int64s");
  context.outputs[0] = {x.dtype == DType::string ? DType::i64 : DType::string, x.shape, std::nullopt};
}

void evaluate_category_mapper(EvaluateContext& context) {
  const Tensor& x = context.inputs[0];
  Tensor keys = list_tensor(context.attributes, "cats_strings");
  Tensor values = list_tensor(context.attributes, "cats_int64s");
  Tensor otherwise = Tensor::of<int64_t>({1}, {context.attributes.get_int("default_int64", -1)});
  if (x.dtype() != DType::string) {
    std::swap(keys, values);
    otherwise = Tensor::of_strings({1}, {context.attributes.get_string("default_string", "_Unused")});
  }
  context.outputs[0] = take_or(values, otherwise, find_keys(x, keys), x.dims());
}

}  // namespace

const OpDef& ai_onnx_ml_category_mapper_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.CategoryMapper",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"cats_int64s", AttributeKind::integers, true},
                     {"cats_strings", AttributeKind::strings, true},
                     {"default_int64", AttributeKind::integer},
                     {"default_string", AttributeKind::string}},
      .elementwise = true,
      .infer = infer_category_mapper,
      .evaluate = evaluate_category_mapper,
  };
  return def;
}

}  // namespace lathe::op
