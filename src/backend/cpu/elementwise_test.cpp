// The elementwise kernels of every tier against libm in double.
#include "backend/cpu/elementwise.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace lathe::backend::cpu {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const int64_t kCounts[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 576, 1027};

std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    if (has_isa(isa)) all.push_back(isa);
  }
  return all;
}

std::vector<float> random_floats(size_t count, float range, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-range, range);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

// Runs `kernel(x, n, y)` and compares with `reference(x)`; what lies behind y must not change.
template <class Reference>
void check_unary(void (*kernel)(const float*, int64_t, float*) noexcept, Reference reference, float range,
                 double relative, double absolute) {
  for (const int64_t count : kCounts) {
    const auto x = random_floats(size_t(count), range, uint32_t(count));
    std::vector<float> y(size_t(count) + 1, 42.0f);
    kernel(x.data(), count, y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double wanted = reference(double(x[i]));
      ASSERT_NEAR(double(y[i]), wanted, relative * std::abs(wanted) + absolute) << "x = " << x[i];
    }
    ASSERT_EQ(y.back(), 42.0f);
  }
}

double exact_gelu(double x) {
  return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
}

TEST(Elementwise, Activations) {
  for (const Isa isa : isas()) {
    const ElementwiseKernels& kernels = elementwise_kernels(isa);
    const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
    const auto gelu_tanh = [](double x) {
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    };
    for (const float range : {0.01f, 1.0f, 6.0f}) {
      SCOPED_TRACE(fmt::format("{} range {}", to_string(isa), range));
      check_unary(kernels.silu, silu, range, 5e-7, 1e-30);
      // The argument of erfc is rounded, and where the result is small that is amplified by x^2 / 2.
      check_unary(kernels.gelu, exact_gelu, range, 4e-6, 1e-30);
      // Near -6 the factor is e^-41, whose exponent carries a relative error of 1e-7.
      check_unary(kernels.gelu_tanh, gelu_tanh, range, 1e-5, 1e-14);
    }
    // e^-x overflows below -88, where the true result is at most 6e-37.
    check_unary(kernels.silu, silu, 200.0f, 2e-5, 1e-36);
    check_unary(kernels.gelu, exact_gelu, 100.0f, 2e-5, 1e-36);
  }
}

TEST(Elementwise, ActivationsAtSpecialValues) {
  for (const Isa isa : isas()) {
    const ElementwiseKernels& kernels = elementwise_kernels(isa);
    for (const auto kernel : {kernels.silu, kernels.gelu, kernels.gelu_tanh}) {
      const float x[4] = {0.0f, kInf, NAN, 3e38f};
      float y[4];
      kernel(x, 4, y);
      EXPECT_EQ(y[0], 0.0f);
      EXPECT_EQ(y[1], kInf);
      EXPECT_TRUE(std::isnan(y[2]));
      EXPECT_EQ(y[3], 3e38f);
    }
  }
}

TEST(Elementwise, RotaryTableIsExactToHalfAUnit) {
  std::vector<int32_t> positions{0, 1, 2, 3, 100, 2047, 8191, 131071, 999999, 1000000, 16000001};
  for (const Isa isa : isas()) {
    const ElementwiseKernels& kernels = elementwise_kernels(isa);
    for (const int64_t half : {1, 4, 7, 32, 40}) {
      std::vector<float> inv_freq;
      for (int64_t i = 0; i < half; ++i)
        inv_freq.push_back(float(std::pow(10000.0, -double(i) / double(half))));
      const size_t size = positions.size() * size_t(half);
      std::vector<float> cos(size), sin(size);
      for (const float scale : {1.0f, 1.5f}) {
        kernels.rotary_table(positions.data(), int64_t(positions.size()), inv_freq.data(), half, scale,
                             cos.data(), sin.data());
        for (size_t i = 0; i < size; ++i) {
          const double angle = double(float(positions[i / size_t(half)]) * inv_freq[i % size_t(half)]);
          ASSERT_NEAR(double(cos[i]), std::cos(angle) * double(scale), 6e-8 * double(scale) * 2) << angle;
          ASSERT_NEAR(double(sin[i]), std::sin(angle) * double(scale), 6e-8 * double(scale) * 2) << angle;
          if (scale == 1.0f) {
            ASSERT_NEAR(double(cos[i]), std::cos(angle), 3.1e-8) << angle;
            ASSERT_NEAR(double(sin[i]), std::sin(angle), 3.1e-8) << angle;
          }
        }
      }
    }
  }
}

TEST(Elementwise, AddAndMul) {
  for (const Isa isa : isas()) {
    for (const int64_t count : kCounts) {
      const auto a = random_floats(size_t(count), 3, 1);
      const auto b = random_floats(size_t(count), 3, 2);
      std::vector<float> sum(a.size());
      std::vector<float> product = a;
      elementwise_kernels(isa).add(a.data(), b.data(), count, sum.data());
      elementwise_kernels(isa).mul(product.data(), b.data(), count, product.data());  // in place
      for (size_t i = 0; i < a.size(); ++i) {
        ASSERT_EQ(sum[i], a[i] + b[i]);
        ASSERT_EQ(product[i], a[i] * b[i]);
      }
    }
  }
}

TEST(Elementwise, Norms) {
  const int64_t rows = 3;
  const float epsilon = 1e-5f;
  for (const Isa isa : isas()) {
    for (const int64_t columns : kCounts) {
      if (columns == 0) continue;
      auto x = random_floats(size_t(rows * columns), 2, 3);
      for (float& value : x) value += 5.0f;  // a mean far from zero
      const auto scale = random_floats(size_t(columns), 2, 4);
      const auto bias = random_floats(size_t(columns), 2, 5);
      std::vector<float> rms(x.size()), plain(x.size()), layer(x.size()), bare(x.size());
      const ElementwiseKernels& kernels = elementwise_kernels(isa);
      kernels.rms_norm(x.data(), rows, columns, scale.data(), epsilon, rms.data());
      kernels.rms_norm(x.data(), rows, columns, nullptr, epsilon, plain.data());
      kernels.layer_norm(x.data(), rows, columns, scale.data(), bias.data(), epsilon, layer.data());
      kernels.layer_norm(x.data(), rows, columns, nullptr, nullptr, epsilon, bare.data());
      for (int64_t r = 0; r < rows; ++r) {
        double mean = 0, square = 0, variance = 0;
        for (int64_t i = 0; i < columns; ++i) {
          mean += double(x[size_t(r * columns + i)]) / double(columns);
          square += std::pow(double(x[size_t(r * columns + i)]), 2) / double(columns);
        }
        for (int64_t i = 0; i < columns; ++i) {
          variance += std::pow(double(x[size_t(r * columns + i)]) - mean, 2) / double(columns);
        }
        for (int64_t i = 0; i < columns; ++i) {
          const size_t at = size_t(r * columns + i);
          const double unit = double(x[at]) / std::sqrt(square + double(epsilon));
          // One column: x - mean is nothing but rounding, and epsilon alone divides it.
          const double normal = (double(x[at]) - mean) / std::sqrt(variance + double(epsilon));
          ASSERT_NEAR(plain[at], unit, 2e-6);
          ASSERT_NEAR(rms[at], unit * double(scale[size_t(i)]), 4e-6);
          ASSERT_NEAR(bare[at], normal, 1e-5) << columns;
          ASSERT_NEAR(layer[at], normal * double(scale[size_t(i)]) + double(bias[size_t(i)]), 2e-5);
        }
      }
    }
  }
}

TEST(Elementwise, Softmax) {
  for (const Isa isa : isas()) {
    for (const int64_t columns : kCounts) {
      if (columns == 0) continue;
      auto x = random_floats(size_t(2 * columns), 50, 6);
      x[0] = 500.0f;
      std::vector<float> y = x;
      elementwise_kernels(isa).softmax(y.data(), 2, columns, y.data());
      for (int64_t r = 0; r < 2; ++r) {
        double top = -1e30, sum = 0;
        for (int64_t i = 0; i < columns; ++i) top = std::max(top, double(x[size_t(r * columns + i)]));
        for (int64_t i = 0; i < columns; ++i) sum += std::exp(double(x[size_t(r * columns + i)]) - top);
        for (int64_t i = 0; i < columns; ++i) {
          const double distance = double(x[size_t(r * columns + i)]) - top;
          const double wanted = std::exp(distance) / sum;
          // x - top is rounded to float. Below e^-87 the result is subnormal or 0.
          const double relative = 2e-6 + std::abs(distance) * 6e-8;
          ASSERT_NEAR(double(y[size_t(r * columns + i)]), wanted, relative * wanted + 3e-38);
        }
      }
    }
    std::vector<float> row{1.0f, NAN, 2.0f};
    elementwise_kernels(isa).softmax(row.data(), 1, 3, row.data());
    EXPECT_TRUE(std::isnan(row[0]) && std::isnan(row[1]) && std::isnan(row[2]));
  }
}

TEST(Elementwise, ArgmaxFindsTheFirstMaximumAndNaN) {
  for (const Isa isa : isas()) {
    const auto argmax = elementwise_kernels(isa).argmax;
    EXPECT_EQ(argmax(nullptr, 0), -1);
    for (const int64_t count : kCounts) {
      if (count == 0) continue;
      auto x = random_floats(size_t(count), 3, uint32_t(count));
      for (const int64_t at : {int64_t{0}, count / 2, count - 1}) {
        auto y = x;
        y[size_t(at)] = 7.0f;
        y[size_t(count - 1)] = 7.0f;
        EXPECT_EQ(argmax(y.data(), count), at);
        y[size_t(at)] = NAN;
        EXPECT_EQ(argmax(y.data(), count), -1) << count << " " << at;
      }
      const std::vector<float> low(size_t(count), -kInf);
      EXPECT_EQ(argmax(low.data(), count), 0);
      const std::vector<float> negative(size_t(count), -2.0f);  // padding lanes must not win with 0
      EXPECT_EQ(argmax(negative.data(), count), 0);
    }
    const float with_infinity[] = {1.0f, kInf, kInf};
    EXPECT_EQ(argmax(with_infinity, 3), 1);
  }
}

TEST(Elementwise, LogSumExp) {
  for (const Isa isa : isas()) {
    const auto log_sum_exp = elementwise_kernels(isa).log_sum_exp;
    for (const int64_t count : {1, 5, 16, 1000, 49152, 151936}) {
      for (const float range : {0.0f, 10.0f, 80.0f}) {
        const auto x = random_floats(size_t(count), range, 8);
        double top = -1e30, sum = 0;
        for (const float value : x) top = std::max(top, double(value));
        for (const float value : x) sum += std::exp(double(value) - top);
        EXPECT_NEAR(log_sum_exp(x.data(), count), top + std::log(sum), 1e-6) << count << " " << range;
      }
    }
    const float low[] = {-kInf, -kInf};
    const float bad[] = {1, NAN};
    const float one[] = {-kInf, 3.0f};
    EXPECT_EQ(log_sum_exp(nullptr, 0), -std::numeric_limits<double>::infinity());
    EXPECT_EQ(log_sum_exp(low, 2), -std::numeric_limits<double>::infinity());
    EXPECT_TRUE(std::isnan(log_sum_exp(bad, 2)));
    EXPECT_EQ(log_sum_exp(one, 2), 3.0);
  }
}

TEST(Elementwise, FindNotFinite) {
  for (const Isa isa : isas()) {
    const auto find = elementwise_kernels(isa).find_not_finite;
    for (const int64_t count : kCounts) {
      auto x = random_floats(size_t(count), 1.7e38f, 9);
      EXPECT_EQ(find(x.data(), count), -1);
      for (int64_t at = 0; at < count; at += 1 + count / 9) {
        for (const float bad : {kInf, -kInf, NAN}) {
          auto y = x;
          y[size_t(at)] = bad;
          y.back() = NAN;
          EXPECT_EQ(find(y.data(), count), at);
        }
      }
    }
  }
}

TEST(Elementwise, GatherRows) {
  const std::vector<float> table{0, 1, 10, 11, 20, 21};
  const int32_t rows[] = {2, 0, 2};
  std::vector<float> out(6);
  gather_rows(table.data(), 2, rows, 3, out.data());
  EXPECT_EQ(out, (std::vector<float>{20, 21, 0, 1, 20, 21}));
}

}  // namespace
}  // namespace lathe::backend::cpu
