// lathe.Embed: rows of a table as f32, whatever the table is stored as.
//
//   table [rows, width] of any float dtype, ids [..] i64 -> f32 [.., width]
#include "base/error.h"
#include "op/op.h"

namespace lathe::op {
namespace {

using tensor::DType;

void infer(InferContext& context) {
  const TypeInfo& table = context.input(0);
  const TypeInfo& ids = context.input(1);
  if (table.shape.size() != 2 || !tensor::is_float(table.dtype) || ids.dtype != DType::i64) {
    fail(ErrorCode::invalid_input, "{}: expected a float table [rows, width] and i64 ids, found {} and {}",
         context.op, to_string(table), to_string(ids));
  }
  tensor::Shape shape = ids.shape;
  shape.push_back(table.shape[1]);
  context.outputs[0] = {DType::f32, std::move(shape), {}};
}

void evaluate(EvaluateContext& context) {
  const tensor::Tensor& table = context.inputs[0];
  const tensor::Tensor& ids = context.inputs[1];
  const int64_t width = table.dims()[1];
  tensor::Dims dims = ids.dims();
  dims.push_back(width);
  tensor::Tensor result(DType::f32, dims);
  const auto out = result.data<float>();
  for (int64_t i = 0; i < ids.size(); ++i) {
    const int64_t id = ids.data<int64_t>()[size_t(i)];
    if (id < 0 || id >= table.dims()[0]) {
      fail(ErrorCode::invalid_input, "id {} at {} is outside a table of {} rows", id, i, table.dims()[0]);
    }
    for (int64_t j = 0; j < width; ++j) {
      out[size_t(i * width + j)] = float(tensor::element_as_double(table, id * width + j));
    }
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& lathe_embed_op() {
  static const OpDef kDef = {
      .name = "lathe.Embed", .min_inputs = 2, .max_inputs = 2, .infer = infer, .evaluate = evaluate};
  return kDef;
}

}  // namespace lathe::op
