#include "op/ml.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

void softmax(std::span<double> scores, bool keep_zeros) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) {
    score = keep_zeros && score == 0 ? 0 : std::exp(score - largest);
    sum += score;
  }
  for (double& score : scores) score = sum == 0 ? 0 : score / sum;
}

// The x below which the normal distribution has the probability p, by halving: 0.5 erfc(-x / sqrt(2)) = p.
double probit(double p) {
  if (!(p >= 0 && p <= 1)) return std::numeric_limits<double>::quiet_NaN();
  if (p == 0 || p == 1) return p == 0 ? -HUGE_VAL : HUGE_VAL;
  if (p > 0.5) return -probit(1 - p);
  double low = -40, high = 0;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

template <class V>
std::vector<int64_t> find_among(const std::vector<V>& x, const std::vector<V>& keys) {
  std::map<V, int64_t> positions;
  int64_t nan = -1;
  const auto is_nan = [](const V& value) {
    if constexpr (std::is_same_v<V, double>) return std::isnan(value);
    return false;
  };
  for (size_t i = 0; i < keys.size(); ++i) {
    if (is_nan(keys[i]))
      nan = int64_t(i);
    else
      positions[keys[i]] = int64_t(i);
  }
  std::vector<int64_t> found;
  for (const V& value : x) {
    const auto it = is_nan(value) ? positions.end() : positions.find(value);
    found.push_back(it != positions.end() ? it->second : is_nan(value) ? nan : -1);
  }
  return found;
}

}  // namespace

TableDims table_dims(const InferContext& context, DTypeSet allowed) {
  const TypeInfo& x = require(context, 0, allowed);
  if (x.shape.size() == 1) return {tensor::Dim(1), x.shape[0]};
  if (x.shape.size() != 2) bad(context, "expected [N, F] or [F], found {}", to_string(x));
  return {x.shape[0], x.shape[1]};
}

Table::Table(const Tensor& x)
    : values(load<double>(x)), rows(x.rank() == 1 ? 1 : x.dims()[0]), features(x.dims().back()) {}

void require_length(std::string_view op, std::string_view name, size_t found, int64_t expected) {
  if (int64_t(found) != expected) {
    fail(ErrorCode::invalid_input, "{}: {}: expected {} entries, found {}", op, name, expected, found);
  }
}

void require_features(const InferContext& context, std::string_view name, size_t count, int64_t of) {
  const auto features = table_dims(context).features.constant();
  const bool fits = of > 0 && int64_t(count) % of == 0 && (!features || int64_t(count) / of == *features);
  if (!fits)
    bad(context, "{}: {} entries do not fit {} times the features of {}", name, count, of, to_string(context.input(0)));
}

PostTransform post_transform(std::string_view op, const Attributes& attributes) {
  const std::string name = attributes.get_string("post_transform", "NONE");
  constexpr std::string_view kNames[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  const auto it = std::find(std::begin(kNames), std::end(kNames), name);
  if (it == std::end(kNames)) fail(ErrorCode::invalid_input, "{}: unknown post_transform \"{}\"", op, name);
  return PostTransform(it - std::begin(kNames));
}

double logistic(double x) {
  return 1 / (1 + std::exp(-x));
}

void transform_scores(PostTransform transform, std::span<double> scores) {
  if (scores.empty()) return;
  switch (transform) {
    case PostTransform::none:
      break;
    case PostTransform::softmax:
    case PostTransform::softmax_zero:
      softmax(scores, transform == PostTransform::softmax_zero);
      break;
    case PostTransform::logistic:
      for (double& score : scores) score = logistic(score);
      break;
    case PostTransform::probit:
      for (double& score : scores) score = probit(score);
      break;
  }
}

std::vector<double> pair_of_scores(std::string_view op, PostTransform transform, double score, double rest) {
  if (transform == PostTransform::logistic) return {logistic(-score), logistic(score)};
  if (transform == PostTransform::probit) {
    fail(ErrorCode::unsupported, "{}: post_transform PROBIT of a single score for two classes", op);
  }
  return {rest, score};
}

Labels::Labels(std::string_view op, const Attributes& attributes, std::string_view ints, std::string_view strings) {
  const Tensor numbers = list_tensor(attributes, ints);
  const Tensor texts = list_tensor(attributes, strings);
  if (numbers.defined() == texts.defined()) {
    fail(ErrorCode::invalid_input, "{}: expected one of {} and {}", op, ints, strings);
  }
  names_ = numbers.defined() ? numbers : texts;
  if (names_.size() == 0) fail(ErrorCode::invalid_input, "{}: no classes", op);
}

Tensor Labels::pick(const std::vector<int64_t>& classes) const {
  return take(names_, {int64_t(classes.size())}, [&, i = size_t{0}]() mutable { return classes[i++]; });
}

int64_t arg_max(std::span<const double> scores) {
  return std::max_element(scores.begin(), scores.end()) - scores.begin();
}

Tensor list_tensor(const Attributes& attributes, std::string_view name) {
  if (const auto* ints = find_list<int64_t>(attributes, name)) {
    return Tensor::of<int64_t>({int64_t(ints->size())}, std::span(*ints));
  }
  if (const auto* reals = find_list<double>(attributes, name)) {
    return store(DType::f32, {int64_t(reals->size())}, *reals);
  }
  if (const auto* texts = find_list<std::string>(attributes, name)) {
    return Tensor::of_strings({int64_t(texts->size())}, *texts);
  }
  return {};
}

std::vector<int64_t> find_keys(const Tensor& x, const Tensor& keys) {
  LATHE_CHECK(x.dtype() == keys.dtype());
  if (x.dtype() == DType::string) return find_among(x.strings(), keys.strings());
  if (tensor::is_float(x.dtype())) return find_among(load<double>(x), load<double>(keys));
  return find_among(load<int64_t>(x), load<int64_t>(keys));
}

Tensor take_or(const Tensor& values, const Tensor& otherwise, const std::vector<int64_t>& positions,
               tensor::Dims dims) {
  Tensor result(values.dtype(), std::move(dims));
  ElementCopier known(values, result);
  ElementCopier unknown(otherwise, result);
  for (size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] >= 0)
      known.copy(positions[i], int64_t(i));
    else
      unknown.copy(0, int64_t(i));
  }
  return result;
}

}  // namespace lathe::op
