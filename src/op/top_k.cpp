// The k largest (or smallest) elements along an axis and where they are; among equals the lower index first.
#include <algorithm>
#include <cmath>

#include "op/inference.h"
#include "op/lines.h"

namespace lathe::op {
namespace {

void infer_top_k(InferContext& context) {
  const TypeInfo& x = require(context, 0, kNumeric);
  require_dtype(context, 1, tensor::DType::i64);
  const size_t axis = axis_index(context, context.attributes.get_int("axis", -1), x.shape.size());
  tensor::Shape shape = x.shape;
  shape[axis] = unknown_dim(context, 0);
  if (const auto k = known_dims(context, 1)) {
    if (k->size() != 1) bad(context, "k: expected one number, found {}", k->size());
    const auto spare = (x.shape[axis] - k->front()).constant();
    if (k->front().constant().value_or(0) < 0 || (spare && *spare < 0)) {
      bad(context, "k is {} on an axis of length {}", k->front().to_string(), x.shape[axis].to_string());
    }
    shape[axis] = k->front();
  }
  context.outputs[0] = {x.dtype, shape, std::nullopt};
  if (context.outputs.size() > 1) context.outputs[1] = {tensor::DType::i64, std::move(shape), std::nullopt};
}

void evaluate_top_k(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const int64_t k = load_int(context.inputs[1]);
  const size_t axis = axis_index(context.attributes.get_int("axis", -1), x.rank());
  const bool largest = context.attributes.get_int("largest", 1) != 0;
  tensor::Dims dims = x.dims();
  dims[axis] = k;
  const int64_t inner = count_of(dims, axis + 1, dims.size());
  std::vector<int64_t> sources(size_t(tensor::element_count(std::span(dims))));  // flat, into x
  std::vector<int64_t> indices(sources.size());
  with_compute_type(x.dtype(), [&](auto zero) {
    const auto values = load<decltype(zero)>(x);
    for_each_line(x.dims(), axis, [&](const Line& line, int64_t number) {
      std::vector<int64_t> order(static_cast<size_t>(line.count));
      for (size_t j = 0; j < order.size(); ++j) order[j] = int64_t(j);
      // NaN ranks above every number, so that this is an order.
      const auto above = [&](int64_t a, int64_t b) {
        const auto va = values[size_t(line.at(a))];
        const auto vb = values[size_t(line.at(b))];
        if (std::isnan(double(va)) || std::isnan(double(vb)))
          return std::isnan(double(va)) && !std::isnan(double(vb));
        return va > vb;
      };
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return largest ? above(a, b) : above(b, a); });
      const int64_t start = number / inner * k * inner + number % inner;
      for (int64_t j = 0; j < k; ++j) {
        indices[size_t(start + j * inner)] = order[size_t(j)];
        sources[size_t(start + j * inner)] = line.at(order[size_t(j)]);
      }
    });
  });
  context.outputs[0] = take(x, dims, [&, i = size_t{0}]() mutable { return sources[i++]; });
  if (context.outputs.size() > 1) context.outputs[1] = store(tensor::DType::i64, dims, indices);
}

}  // namespace

const OpDef& top_k_op() {
  static const OpDef def{
      .name = "TopK",
      .min_inputs = 2,
      .max_inputs = 2,
      .min_outputs = 1,
      .max_outputs = 2,
      .attributes = {{"axis", AttributeKind::integer},
                     {"largest", AttributeKind::integer},
                     {"sorted", AttributeKind::integer}},
      .infer = infer_top_k,
      .evaluate = evaluate_top_k,
  };
  return def;
}

}  // namespace lathe::op
