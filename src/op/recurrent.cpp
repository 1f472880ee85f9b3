#include "op/recurrent.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "op/inference.h"
#include "op/products.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;
using tensor::Tensor;

enum Input : size_t { kX, kWeights, kRecurrence, kBias, kLengths, kInitialH, kInitialC, kPeepholes };

// A function that `activations` may name. Without a default, alpha or beta must be given.
struct Function {
  std::string_view name;
  double (*function)(double x, double alpha, double beta);
  bool takes_alpha = false;
  bool takes_beta = false;
  std::optional<double> alpha = std::nullopt;
  std::optional<double> beta = std::nullopt;
};

const Function* find_function(std::string_view name) {
  static const Function functions[] = {
      {"Relu", [](double x, double, double) { return x < 0 ? 0 : x; }},
      {"Tanh", [](double x, double, double) { return std::tanh(x); }},
      {"Sigmoid", [](double x, double, double) { return 1 / (1 + std::exp(-x)); }},
      {"Affine", [](double x, double a, double b) { return a * x + b; }, true, true, 1.0, 0.0},
      {"LeakyRelu", [](double x, double a, double) { return x < 0 ? a * x : x; }, true, false, 0.01},
      {"ThresholdedRelu", [](double x, double a, double) { return x < a ? 0 : x; }, true, false, 1.0},
      {"ScaledTanh", [](double x, double a, double b) { return a * std::tanh(b * x); }, true, true},
      {"HardSigmoid", [](double x, double a, double b) { return std::clamp(a * x + b, 0.0, 1.0); }, true, true, 0.2,
       0.5},
      {"Elu", [](double x, double a, double) { return x < 0 ? a * std::expm1(x) : x; }, true, false, 1.0},
      {"Softsign", [](double x, double, double) { return x / (1 + std::abs(x)); }},
      {"Softplus", [](double x, double, double) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }},
  };
  const auto it =
      std::find_if(std::begin(functions), std::end(functions), [&](const Function& f) { return f.name == name; });
  return it == std::end(functions) ? nullptr : it;
}

int64_t direction_count(const Attributes& attributes) {
  return attributes.get_string("direction", "forward") == "bidirectional" ? 2 : 1;
}

// The activations of all directions. alpha and beta are handed out in order to the functions that take them;
// where a list has ended, the function's default holds.
std::vector<Activation> read_activations(const Attributes& attributes, const RecurrentCell& cell) {
  const size_t wanted = cell.activations.size() * size_t(direction_count(attributes));
  std::vector<std::string> names = attributes.find_strings("activations").value_or(std::vector<std::string>());
  if (names.empty()) {
    for (size_t i = 0; i < wanted; ++i) names.emplace_back(cell.activations[i % cell.activations.size()]);
  }
  // A list for two directions does for one: RNN's default in the schema is such a list.
  if (names.size() < wanted || (names.size() != wanted && names.size() != 2 * cell.activations.size()))
    fail(ErrorCode::invalid_input, "{} activations where {} are wanted", names.size(), wanted);
  names.resize(wanted);
  const std::vector<double> alphas = attributes.find_floats("activation_alpha").value_or(std::vector<double>());
  const std::vector<double> betas = attributes.find_floats("activation_beta").value_or(std::vector<double>());
  size_t alpha_at = 0, beta_at = 0;
  const auto next = [](const std::vector<double>& list, size_t& at, std::optional<double> otherwise,
                       const std::string& name) {
    if (at < list.size()) return list[at++];
    if (!otherwise) fail(ErrorCode::invalid_input, "activation {} needs its alpha and beta", name);
    return *otherwise;
  };
  std::vector<Activation> activations;
  for (const std::string& name : names) {
    const Function* found = find_function(name);
    if (!found) fail(ErrorCode::invalid_input, "no activation named \"{}\"", name);
    Activation activation{found->function};
    if (found->takes_alpha) activation.alpha = next(alphas, alpha_at, found->alpha, name);
    if (found->takes_beta) activation.beta = next(betas, beta_at, found->beta, name);
    activation.clip = attributes.get_float("clip", 0);
    activations.push_back(activation);
  }
  return activations;
}

void check_attributes(const InferContext& context, const RecurrentCell& cell) {
  const std::string direction = context.attributes.get_string("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
    bad(context, "direction \"{}\"", direction);
  const int64_t layout = context.attributes.get_int("layout", 0);
  if (layout != 0 && layout != 1) bad(context, "layout is {}", layout);
  if (context.attributes.has("clip") && !(context.attributes.get_float("clip", 0) > 0))
    bad(context, "clip is {}", context.attributes.get_float("clip", 0));
  with_context(context.op, [&] { return read_activations(context.attributes, cell); });
}

void require_shape(const InferContext& context, size_t i, std::string_view what, const tensor::Shape& expected) {
  if (!context.has_input(i)) return;
  require_same_dtype(context, kX, i);
  require_rank(context, i, expected.size());
  for (size_t d = 0; d < expected.size(); ++d)
    require_dims_agree(context, fmt::format("{}, axis {}", what, d), context.input(i).shape[d], expected[d]);
}

// Inference passes lengths that only the run knows.
void check_dims(const EvaluateContext& context, size_t i, std::string_view what, const tensor::Dims& expected) {
  if (!context.has_input(i) || context.inputs[i].dims() == expected) return;
  fail(ErrorCode::invalid_input, "{}: expected {}, found {}", what, tensor::to_string(std::span(expected)),
       tensor::to_string(std::span(context.inputs[i].dims())));
}

// The elements of a [a, b, width] tensor with the first two axes swapped.
std::vector<double> swap_axes(const std::vector<double>& from, int64_t a, int64_t b, int64_t width) {
  std::vector<double> to(from.size());
  for (int64_t i = 0; i < a; ++i) {
    for (int64_t j = 0; j < b; ++j)
      std::copy_n(from.begin() + (i * b + j) * width, width, to.begin() + (j * a + i) * width);
  }
  return to;
}

// A state input as [directions, batch, hidden]; zeros if it is not there.
std::vector<double> load_state(const EvaluateContext& context, size_t input, const tensor::Dims& dims,
                               bool batch_first) {
  if (!context.has_input(input)) return std::vector<double>(size_t(count_of(dims, 0, 3)));
  std::vector<double> values = load<double>(context.inputs[input]);
  return batch_first ? swap_axes(values, dims[1], dims[0], dims[2]) : values;
}

std::vector<int64_t> load_lengths(const EvaluateContext& context, int64_t steps, int64_t batch) {
  if (!context.has_input(kLengths)) return std::vector<int64_t>(size_t(batch), steps);
  std::vector<int64_t> lengths = load<int64_t>(context.inputs[kLengths]);
  for (const int64_t length : lengths) {
    if (length < 0 || length > steps)
      fail(ErrorCode::invalid_input, "sequence_lens: {} is outside of [0, {}]", length, steps);
  }
  return lengths;
}

}  // namespace

double Activation::operator()(double x) const {
  return without_clip(clip > 0 ? std::clamp(x, -clip, clip) : x);
}

double RecurrentDirection::from_input(int64_t g, int64_t j, const double* x) const {
  const int64_t row = g * hidden + j;
  return dot(weights + row * width, 1, x, 1, width) + (bias ? bias[row] : 0);
}

double RecurrentDirection::from_state(int64_t g, int64_t j, const double* h) const {
  const int64_t row = g * hidden + j;
  return dot(recurrence + row * hidden, 1, h, 1, hidden) + (bias ? bias[gates * hidden + row] : 0);
}

void infer_recurrent(InferContext& context, const RecurrentCell& cell) {
  const TypeInfo& x = require(context, kX, kFloat);
  require_rank(context, kX, 3);
  require(context, kWeights, kFloat);
  require(context, kRecurrence, kFloat);
  require_rank(context, kRecurrence, 3);
  check_attributes(context, cell);
  const bool batch_first = context.attributes.get_int("layout", 0) == 1;
  const Dim directions(direction_count(context.attributes));
  const Dim steps = x.shape[batch_first ? 1 : 0];
  const Dim batch = x.shape[batch_first ? 0 : 1];
  const Dim hidden = context.input(kRecurrence).shape[2];
  const Dim rows = hidden * Dim(cell.gates);
  if (const auto size = context.attributes.find_int("hidden_size"))
    require_dims_agree(context, "hidden_size and the recurrence weights", Dim(*size), hidden);
  const tensor::Shape state =
      batch_first ? tensor::Shape{batch, directions, hidden} : tensor::Shape{directions, batch, hidden};
  require_shape(context, kWeights, "W", {directions, rows, x.shape[2]});
  require_shape(context, kRecurrence, "R", {directions, rows, hidden});
  require_shape(context, kBias, "B", {directions, rows * Dim(2)});
  require_shape(context, kInitialH, "initial_h", state);
  require_shape(context, kInitialC, "initial_c", state);
  require_shape(context, kPeepholes, "P", {directions, hidden * Dim(3)});
  if (context.has_input(kLengths)) {
    require_dtype(context, kLengths, DType::i32);
    require_rank(context, kLengths, 1);
    require_dims_agree(context, "sequence_lens", context.input(kLengths).shape[0], batch);
  }
  const tensor::Shape all =
      batch_first ? tensor::Shape{batch, steps, directions, hidden} : tensor::Shape{steps, directions, batch, hidden};
  for (size_t i = 0; i < context.outputs.size(); ++i)
    context.outputs[i] = {x.dtype, i == 0 ? all : state, std::nullopt};
}

void evaluate_recurrent(EvaluateContext& context, const RecurrentCell& cell) {
  const Tensor& x = context.inputs[kX];
  const bool batch_first = context.attributes.get_int("layout", 0) == 1;
  const bool backward_first = context.attributes.get_string("direction", "forward") == "reverse";
  const int64_t directions = direction_count(context.attributes);
  const int64_t steps = x.dims()[batch_first ? 1 : 0];
  const int64_t batch = x.dims()[batch_first ? 0 : 1];
  const int64_t width = x.dims()[2];
  const int64_t hidden = context.inputs[kRecurrence].dims()[2];
  if (!context.has_input(kWeights)) fail(ErrorCode::invalid_input, "W is missing");
  const int64_t rows = cell.gates * hidden;
  const tensor::Dims given_state =
      batch_first ? tensor::Dims{batch, directions, hidden} : tensor::Dims{directions, batch, hidden};
  check_dims(context, kWeights, "W", {directions, rows, width});
  check_dims(context, kRecurrence, "R", {directions, rows, hidden});
  check_dims(context, kBias, "B", {directions, 2 * rows});
  check_dims(context, kLengths, "sequence_lens", {batch});
  check_dims(context, kInitialH, "initial_h", given_state);
  check_dims(context, kInitialC, "initial_c", given_state);
  check_dims(context, kPeepholes, "P", {directions, 3 * hidden});
  const std::vector<double> sequence = load<double>(x);
  const std::vector<double> weights = load<double>(context.inputs[kWeights]);
  const std::vector<double> recurrence = load<double>(context.inputs[kRecurrence]);
  const auto optional = [&](size_t i) {
    return context.has_input(i) ? load<double>(context.inputs[i]) : std::vector<double>();
  };
  const std::vector<double> bias = optional(kBias);
  const std::vector<double> peepholes = optional(kPeepholes);
  const std::vector<int64_t> lengths = load_lengths(context, steps, batch);
  const std::vector<Activation> activations = read_activations(context.attributes, cell);
  const tensor::Dims state{directions, batch, hidden};
  std::vector<double> h = load_state(context, kInitialH, state, batch_first);
  std::vector<double> c = load_state(context, kInitialC, state, batch_first);
  const tensor::Dims all =
      batch_first ? tensor::Dims{batch, steps, directions, hidden} : tensor::Dims{steps, directions, batch, hidden};
  std::vector<double> y(size_t(count_of(all, 0, 4)));  // zero beyond a sequence's length

  for (int64_t d = 0; d < directions; ++d) {
    const auto part = [&](const std::vector<double>& values) {
      return values.empty() ? nullptr : values.data() + d * int64_t(values.size()) / directions;
    };
    const size_t count = cell.activations.size();
    const RecurrentDirection direction{hidden,
                                       width,
                                       part(weights),
                                       part(recurrence),
                                       part(bias),
                                       part(peepholes),
                                       std::span(activations).subspan(size_t(d) * count, count),
                                       cell.gates};
    for (int64_t b = 0; b < batch; ++b) {
      double* row_h = h.data() + (d * batch + b) * hidden;
      double* row_c = c.data() + (d * batch + b) * hidden;
      for (int64_t s = 0; s < lengths[size_t(b)]; ++s) {
        const int64_t t = (d == 1 || backward_first) ? lengths[size_t(b)] - 1 - s : s;
        const int64_t at = batch_first ? b * steps + t : t * batch + b;
        cell.step(context.attributes, direction, sequence.data() + at * width, row_h, row_c);
        const int64_t to = batch_first ? (b * steps + t) * directions + d : (t * directions + d) * batch + b;
        std::copy_n(row_h, hidden, y.begin() + to * hidden);
      }
    }
  }
  const auto store_state = [&](const std::vector<double>& values) {
    if (!batch_first) return store(x.dtype(), state, values);
    return store(x.dtype(), {batch, directions, hidden}, swap_axes(values, directions, batch, hidden));
  };
  const size_t wanted = context.outputs.size();
  if (wanted > 0) context.outputs[0] = store(x.dtype(), all, y);
  if (wanted > 1) context.outputs[1] = store_state(h);
  if (wanted > 2) context.outputs[2] = store_state(c);
}

}  // namespace lathe::op
