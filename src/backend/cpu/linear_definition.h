// What a problem of linear.cases has to give: the definition of linear.h in double, with bounds for computations in
// float. For tests of every device.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "backend/cpu/linear_cases.h"

namespace lathe::backend::cpu {

inline std::vector<float> random_floats(size_t count, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// A problem with its data.
struct LinearData {
  LinearProblem problem;
  std::vector<tensor::SourcePtr> sources;
  std::vector<std::vector<float>> biases;
  std::vector<float> x, norm_scale, norm_bias, residual;
  int64_t outputs = 0;
  static constexpr float kEpsilon = 1e-5f;

  explicit LinearData(const LinearProblem& p) : problem(p) {
    for (size_t i = 0; i < p.layouts.size(); ++i) {
      sources.push_back(random_weights(p.layouts[i], p.rows[i], p.columns, uint32_t(17 + i)));
      biases.push_back(random_floats(size_t(p.rows[i]), uint32_t(29 + i), 0.3f));
      outputs += p.rows[i];
    }
    if (gated()) outputs = p.rows[0];
    x = random_floats(size_t(p.tokens * p.columns), 3, 1.0f);
    norm_scale = random_floats(size_t(p.columns), 5, 1.0f);
    if (p.norm == Norm::layer) norm_bias = random_floats(size_t(p.columns), 6, 0.5f);
    if (p.residual) residual = random_floats(size_t(p.tokens * outputs), 7, 1.0f);
  }
  bool gated() const {
    return problem.activation >= Activation::silu_gate && problem.activation <= Activation::gelu_tanh_gate;
  }
};

inline bool is_integer(Compute compute) {
  return compute == Compute::i8 || compute == Compute::i16;
}

// A number and how far a correct float computation may be from it.
struct Bounded {
  double value = 0, error = 0;
};

// Rounds normalised activations of a token as `compute` says. Norms in float may end on the other side of a
// rounding boundary: where a relative change of 2e-6 does so, the step counts as error.
inline std::vector<Bounded> rounded_token(const LinearData& linear, int64_t token) {
  const int64_t columns = linear.problem.columns;
  const float* x = linear.x.data() + token * columns;
  std::vector<double> v(x, x + columns);
  double slack = 0;
  if (linear.problem.norm != Norm::none) {
    double mean = 0, square = 0;
    if (linear.problem.norm == Norm::layer) {
      for (const double value : v) mean += value / double(columns);
    }
    for (const double value : v) square += (value - mean) * (value - mean) / double(columns);
    const double inverse = 1 / std::sqrt(square + double(LinearData::kEpsilon));
    for (size_t c = 0; c < v.size(); ++c) {
      v[c] = (v[c] - mean) * inverse * linear.norm_scale[c];
      if (!linear.norm_bias.empty()) v[c] += linear.norm_bias[c];
    }
    slack = 2e-6;
  }
  std::vector<Bounded> out(v.size());
  const auto put = [&](size_t c, auto&& round) {
    // x - mean and + bias may cancel, hence the absolute part.
    const double nudge = slack * (std::abs(v[c]) + 1);
    out[c] = {round(v[c]), std::abs(round(v[c] + nudge) - round(v[c] - nudge)) + nudge};
  };
  if (!is_integer(linear.problem.compute)) {
    for (size_t c = 0; c < v.size(); ++c) {
      put(c, [&](double value) -> double {
        if (linear.problem.compute == Compute::bf16) return bf16_to_f32(f32_to_bf16(float(value)));
        if (linear.problem.compute == Compute::f16) return f16_to_f32(f32_to_f16(float(value)));
        return value;
      });
    }
    return out;
  }
  const float largest = linear.problem.compute == Compute::i8 ? 127.0f : 32767.0f;
  for (size_t first = 0; first < v.size(); first += 32) {
    float amax = 0;
    for (size_t c = first; c < first + 32; ++c) amax = std::max(amax, std::abs(float(v[c])));
    const float inverse = amax >= 0x1p-120f ? largest / amax : 0.0f;
    for (size_t c = first; c < first + 32; ++c) {
      put(c, [&](double value) { return double(amax / largest) * std::nearbyint(float(value) * inverse); });
    }
  }
  return out;
}

inline double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::silu_gate:
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::gelu_gate:
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh_gate:
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::relu:
      return std::max(0.0, x);
    case Activation::none:
      return x;
  }
  return x;
}

// y[token][output] of the definition in linear.h, in double. `row_of` gives weights of a part's row.
inline Bounded product(const LinearData& linear, const std::vector<Bounded>& x, size_t part, int64_t row,
                       const std::vector<float>& weights) {
  Bounded sum;
  double magnitude = 0;
  for (size_t c = 0; c < x.size(); ++c) {
    const double w = weights[size_t(row) * x.size() + c];
    sum.value += w * x[c].value;
    sum.error += std::abs(w) * x[c].error;
    magnitude += std::abs(w * x[c].value);
  }
  // Minima are summed apart from scaled codes, whose sums may be larger than that of the weights: 16 codes.
  sum.error += (is_integer(linear.problem.compute) ? 1e-5 : 3e-6) * magnitude + 1e-30;
  if (linear.problem.bias) sum.value += linear.biases[part][size_t(row)];
  return sum;
}

struct Expected {
  std::vector<int64_t> tokens, rows;  // which were computed
  std::vector<Bounded> values;        // [tokens][rows]
};

// All outputs of small problems, a sample of large ones.
inline Expected expect(const LinearData& linear) {
  const LinearProblem& p = linear.problem;
  Expected expected;
  const bool large = p.tokens * p.columns * linear.outputs > 20'000'000;
  for (int64_t t = 0; t < p.tokens; t += large ? 37 : 1) expected.tokens.push_back(t);
  for (int64_t r = 0; r < linear.outputs; r += large ? 29 : 1) expected.rows.push_back(r);
  std::vector<std::vector<float>> weights;
  for (const auto& source : linear.sources) {
    weights.emplace_back(size_t(source->rows() * source->row_elements()));
    source->read_rows_f32(0, source->rows(), weights.back());
  }
  for (const int64_t t : expected.tokens) {
    const auto x = rounded_token(linear, t);
    for (const int64_t output : expected.rows) {
      size_t part = 0;
      int64_t row = output;
      while (row >= p.rows[part]) row -= p.rows[part++];
      Bounded y = product(linear, x, part, row, weights[part]);
      // The steepest of these functions has a slope of 1.13.
      if (p.activation != Activation::none) {
        y = {activate(p.activation, y.value), 1.2 * y.error + 2e-6 * std::abs(activate(p.activation, y.value)) + 1e-9};
      }
      if (linear.gated()) {
        const Bounded gate = product(linear, x, 1, row, weights[1]);
        y = {y.value * gate.value,
             y.error * std::abs(gate.value) + gate.error * std::abs(y.value) + y.error * gate.error};
      }
      if (p.residual) y.value += linear.residual[size_t(t * linear.outputs + output)];
      y.error += 3e-7 * std::abs(y.value);
      expected.values.push_back(y);
    }
  }
  return expected;
}

inline void compare(const LinearData& linear, const Expected& expected, const std::vector<float>& found,
                    int64_t tokens) {
  size_t i = 0;
  for (const int64_t t : expected.tokens) {
    if (t >= tokens) return;
    for (const int64_t row : expected.rows) {
      const Bounded& e = expected.values[i++];
      const float y = found[size_t(t * linear.outputs + row)];
      ASSERT_LE(std::abs(double(y) - e.value), e.error)
          << "token " << t << " output " << row << ": expected " << e.value << ", found " << y;
    }
  }
}

}  // namespace lathe::backend::cpu
