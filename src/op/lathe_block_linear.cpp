// The product of rows of floats with a matrix of small integers with scales: x W' for W = (codes - zeros) * scales, by
// blocks of columns, each element rounded to f32.
//
// Inputs: x f32 [.., K], codes i4, u4, i8 or u8 [N, K], scales f32 [N, blocks], zeros? f32 [N, blocks]; output f32 [..,
// N]. Attribute block_size: columns of a block; the last one may be shorter. Of codes of 4 bits two lie in a byte: K is
// even, and so is block_size unless there is one block.
#include "base/checked.h"
#include "op/inference.h"
#include "op/products.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

enum Input : size_t { kX, kCodes, kScales, kZeros };

void check_codes(const InferContext& context, int64_t block) {
  const TypeInfo& codes = context.input(kCodes);
  const bool halves = codes.dtype == DType::i4 || codes.dtype == DType::u4;
  if (!halves && codes.dtype != DType::i8 && codes.dtype != DType::u8) {
    bad(context, "codes: expected integers of 4 or 8 bits, found {}", to_string(codes));
  }
  const auto columns = codes.shape[1].constant();
  if (!columns) bad(context, "codes: the number of columns is not known");
  if (halves && (*columns % 2 != 0 || (block % 2 != 0 && block < *columns))) {
    bad(context, "{} columns of 4 bits in blocks of {}", *columns, block);
  }
  for (const size_t i : {kScales, kZeros}) {
    if (!context.has_input(i)) continue;
    require_dtype(context, i, DType::f32);
    require_rank(context, i, 2);
    const tensor::Shape& shape = context.input(i).shape;
    require_dims_agree(context, "rows of scales", shape[0], codes.shape[0]);
    require_dims_agree(context, "blocks", shape[1], tensor::Dim(ceil_div(*columns, block)));
  }
}

void infer_lathe_block_linear(InferContext& context) {
  const TypeInfo& x = require_dtype(context, kX, DType::f32);
  if (x.shape.empty()) bad(context, "x is a scalar");
  require_rank(context, kCodes, 2);
  const int64_t block = context.attributes.get_int("block_size", 0);
  if (block < 1) bad(context, "block_size is {}", block);
  check_codes(context, block);
  const tensor::Shape& w = context.input(kCodes).shape;
  require_dims_agree(context, "columns", x.shape.back(), w[1]);
  tensor::Shape shape = x.shape;
  shape.back() = w[0];
  context.outputs[0] = {DType::f32, std::move(shape), std::nullopt};
}

void evaluate_lathe_block_linear(EvaluateContext& context) {
  const tensor::Tensor& codes = context.inputs[kCodes];
  const int64_t outputs = codes.dims()[0], columns = codes.dims()[1];
  const int64_t block = context.attributes.get_int("block_size", 0), blocks = ceil_div(columns, block);
  const std::vector<double> scales = load<double>(context.inputs[kScales]);
  std::vector<double> zeros(scales.size(), 0);
  if (context.has_input(kZeros)) zeros = load<double>(context.inputs[kZeros]);
  std::vector<float> w(size_t(codes.size()));
  for (int64_t i = 0; i < codes.size(); ++i) {
    const auto at = size_t(i / columns * blocks + i % columns / block);
    w[size_t(i)] = float((tensor::element_as_double(codes, i) - zeros[at]) * scales[at]);
  }
  const tensor::Tensor& x = context.inputs[kX];
  tensor::Dims dims = x.dims();
  const int64_t rows = count_of(dims, 0, dims.size() - 1);
  dims.back() = outputs;
  std::vector<double> y(size_t(rows * outputs));
  multiply(x.data<float>().data(), columns, 1, w.data(), 1, columns, rows, columns, outputs, y.data());
  context.outputs[0] = store(DType::f32, dims, y);
}

}  // namespace

const OpDef& lathe_block_linear_op() {
  static const OpDef def{
      .name = "lathe.BlockLinear",
      .min_inputs = 3,
      .max_inputs = 4,
      .attributes = {{.name = "block_size", .kind = AttributeKind::integer, .required = true}},
      .infer = infer_lathe_block_linear,
      .evaluate = evaluate_lathe_block_linear,
  };
  return def;
}

}  // namespace lathe::op
