// The different elements (with `axis`: slices), sorted or in order of first appearance; where each appears first,
// which of them every element is, and how often each is there.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

void infer_unique(InferContext& context) {
  const TypeInfo& x = require(context, 0, kAny);
  const auto axis = context.attributes.find_int("axis");
  const tensor::Dim found = unknown_dim(context, 0);
  tensor::Shape shape{found};
  tensor::Dim count = tensor::element_count(x.shape);
  if (axis) {
    const size_t along = axis_index(context, *axis, x.shape.size());
    shape = x.shape;
    count = shape[along];
    shape[along] = found;
  }
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
  for (size_t i = 1; i < context.outputs.size(); ++i) {
    context.outputs[i] = {DType::i64, {i == 2 ? count : found}, std::nullopt};
  }
}

// For each of `count` things, how many different ones are smaller: equal things have equal numbers.
template <class Less>
std::vector<int64_t> rank_all(size_t count, Less less) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), less);
  std::vector<int64_t> ranks(count);
  int64_t rank = 0;
  for (size_t i = 1; i < count; ++i) {
    if (less(order[i - 1], order[i])) ++rank;
    ranks[order[i]] = rank;
  }
  return ranks;
}

// NaN is behind all numbers and equal to itself.
bool before(double a, double b) {
  return std::isnan(b) ? !std::isnan(a) : a < b;
}

// Real and imaginary part, T each, one after the other.
template <class T>
std::vector<int64_t> rank_complex(const Tensor& x) {
  const auto parts = x.data<T>();
  return rank_all(size_t(x.size()), [&](size_t i, size_t j) {
    if (before(parts[2 * i], parts[2 * j])) return true;
    if (before(parts[2 * j], parts[2 * i])) return false;
    return before(parts[2 * i + 1], parts[2 * j + 1]);
  });
}

std::vector<int64_t> rank_elements(const Tensor& x) {
  if (x.dtype() == DType::string) {
    const auto& texts = x.strings();
    return rank_all(texts.size(), [&](size_t i, size_t j) { return texts[i] < texts[j]; });
  }
  if (x.dtype() == DType::c64) return rank_complex<float>(x);
  if (x.dtype() == DType::c128) return rank_complex<double>(x);
  return with_compute_type(x.dtype(), [&](auto zero) {
    const auto values = load<decltype(zero)>(x);
    return rank_all(values.size(), [&](size_t i, size_t j) {
      if constexpr (std::is_same_v<decltype(zero), double>) return before(values[i], values[j]);
      return values[i] < values[j];
    });
  });
}

// Rank of every slice along `axis`: slices compare element by element, in row-major order.
std::vector<int64_t> rank_slices(const Tensor& x, size_t axis) {
  const std::vector<int64_t> elements = rank_elements(x);
  const int64_t inner = count_of(x.dims(), axis + 1, x.dims().size());
  const int64_t outer = count_of(x.dims(), 0, axis);
  const int64_t length = x.dims()[axis];
  return rank_all(size_t(length), [&](size_t i, size_t j) {
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t k = 0; k < inner; ++k) {
        const int64_t a = elements[size_t((o * length + int64_t(i)) * inner + k)];
        const int64_t b = elements[size_t((o * length + int64_t(j)) * inner + k)];
        if (a != b) return a < b;
      }
    }
    return false;
  });
}

void evaluate_unique(EvaluateContext& context) {
  const auto axis = context.attributes.find_int("axis");
  const Tensor x = axis ? context.inputs[0] : context.inputs[0].reshaped({context.inputs[0].size()});
  const size_t along = axis ? axis_index(*axis, x.rank()) : 0;
  std::vector<int64_t> group = axis ? rank_slices(x, along) : rank_elements(x);
  const int64_t count = group.empty() ? 0 : *std::max_element(group.begin(), group.end()) + 1;
  std::vector<int64_t> first(size_t(count), -1), counts(size_t(count), 0), order(size_t(count), -1);
  int64_t seen = 0;
  const bool sorted = context.attributes.get_int("sorted", 1) != 0;
  for (size_t i = 0; i < group.size(); ++i) {
    int64_t& place = order[size_t(group[i])];
    if (place < 0) place = sorted ? group[i] : seen++;
    group[i] = place;
    if (first[size_t(place)] < 0) first[size_t(place)] = int64_t(i);
    ++counts[size_t(place)];
  }
  tensor::Dims dims = x.dims();
  dims[along] = count;
  const tensor::Dims strides = contiguous_strides(x.dims());
  tensor::Dims others = strides;
  others[along] = 0;
  Walk walk(dims, others);
  context.outputs[0] = take(x, dims, [&] {
    const int64_t slice = first[size_t(walk.index()[along])];
    return walk.next() + slice * strides[along];
  });
  const std::vector<int64_t>* more[] = {&first, &group, &counts};
  for (size_t i = 1; i < context.outputs.size(); ++i) {
    context.outputs[i] = store(DType::i64, {int64_t(more[i - 1]->size())}, *more[i - 1]);
  }
}

}  // namespace

const OpDef& unique_op() {
  static const OpDef def{
      .name = "Unique",
      .min_inputs = 1,
      .max_inputs = 1,
      .min_outputs = 1,
      .max_outputs = 4,
      .attributes = {{"axis", AttributeKind::integer}, {"sorted", AttributeKind::integer}},
      .infer = infer_unique,
      .evaluate = evaluate_unique,
  };
  return def;
}

}  // namespace lathe::op
