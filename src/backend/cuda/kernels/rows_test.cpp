// Norms, sums and products by element, rows of tables and rotary tables on the emulated device, against their
// definitions in double.
#include "backend/cuda/kernels/rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace lathe::backend::cuda {
namespace {

using emulated::Buffer;

std::vector<float> random_floats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.3f, 1.5f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// A row normalised in double.
std::vector<double> expected_norm(const float* x, size_t columns, NormKind norm, const std::vector<float>& scale,
                                  const std::vector<float>& bias) {
  std::vector<double> row(x, x + columns);
  if (norm == NormKind::none) return row;
  double mean = 0, squares = 0;
  for (const double value : row) mean += norm == NormKind::layer ? value / double(columns) : 0;
  for (const double value : row) squares += (value - mean) * (value - mean) / double(columns);
  for (size_t c = 0; c < columns; ++c) {
    row[c] = (row[c] - mean) / std::sqrt(squares + 1e-5) * double(scale[c]) + (bias.empty() ? 0 : double(bias[c]));
  }
  return row;
}

template <class Out>
std::vector<Out> run_norm(int tokens, int columns, NormKind norm, Rounding rounding, const std::vector<float>& x,
                          const std::vector<float>& scale, const std::vector<float>& bias) {
  Buffer<float> in("x", x), s("scale", scale), b("bias", bias);
  Buffer<Out> y("y", size_t(tokens * columns));
  Normalise<Out> call{};
  call.x = in;
  call.columns = columns;
  call.norm = norm;
  if (norm != NormKind::none) call.scale = s;
  if (!bias.empty()) call.bias = b;
  call.epsilon = 1e-5f;
  call.rounding = rounding;
  call.y = y;
  emulated::launch({"normalise", {unsigned(tokens)}, {kRowThreads}, 0, 7}, [&] { normalise<Out>(call); });
  return y.elements();
}

TEST(Rows, Normalise) {
  for (const int columns : {1, 42, 256, 700}) {
    for (const NormKind norm : {NormKind::none, NormKind::rms, NormKind::layer}) {
      SCOPED_TRACE(columns * 10 + int(norm));
      const auto x = random_floats(size_t(3 * columns), 1), scale = random_floats(size_t(columns), 2);
      const auto bias = norm == NormKind::layer ? random_floats(size_t(columns), 3) : std::vector<float>();
      const auto y = run_norm<float>(3, columns, norm, Rounding::none, x, scale, bias);
      const auto half = run_norm<uint16_t>(3, columns, norm, Rounding::f16, x, scale, bias);
      const auto brain = run_norm<uint16_t>(3, columns, norm, Rounding::bf16, x, scale, bias);
      for (int t = 0; t < 3; ++t) {
        const auto expected = expected_norm(&x[size_t(t * columns)], size_t(columns), norm, scale, bias);
        for (int c = 0; c < columns; ++c) {
          const size_t at = size_t(t * columns + c);
          ASSERT_NEAR(double(y[at]), expected[size_t(c)], 2e-6 * (1 + std::abs(expected[size_t(c)])));
          EXPECT_EQ(half[at], to_f16(y[at]));
          EXPECT_EQ(brain[at], to_bf16(y[at]));
        }
      }
    }
  }
}

TEST(Rows, Combine) {
  for (const size_t count : {size_t{1}, size_t{255}, size_t{3000}}) {
    const auto a = random_floats(count, 1), b = random_floats(count, 2), r = random_floats(count, 3);
    Buffer<float> left("a", a), right("b", b), y("y", r);  // the residual is y itself
    Combine call{left, right, y, y, int64_t(count), 1};
    emulated::launch({"combine", {2}, {kRowThreads}, 0, 5}, [&] { combine(call); });
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(y.elements()[i], a[i] * b[i] + r[i]);
    Buffer<float> sum("sum", count);
    call = {left, right, {}, sum, int64_t(count), 0};
    emulated::launch({"combine", {3}, {kRowThreads}, 0, 5}, [&] { combine(call); });
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(sum.elements()[i], a[i] + b[i]);
  }
}

TEST(Rows, PlaceColumns) {
  const auto x = random_floats(2 * 300, 4);
  Buffer<float> from("x", x), y("y", std::vector<float>(2 * 310, -1.0f));
  const PlaceColumns call{from, y, 300, 310, 7};
  emulated::launch({"place_columns", {2}, {kRowThreads}, 0, 5}, [&] { place_columns(call); });
  for (size_t t = 0; t < 2; ++t) {
    for (size_t c = 0; c < 310; ++c) {
      const bool inside = c >= 7 && c < 307;
      EXPECT_EQ(y.elements()[t * 310 + c], inside ? x[t * 300 + c - 7] : -1.0f);
    }
  }
}

template <class Format>
void check_look_up() {
  constexpr int kColumns = 300;
  const std::vector<int64_t> rows = {4, 0, 4, 1};
  std::vector<typename Format::Stored> table(5 * kColumns);
  for (size_t i = 0; i < table.size(); ++i) table[i] = typename Format::Stored(i * 37 % 15000);
  Buffer<int64_t> ids("rows", rows);
  Buffer<typename Format::Stored> stored("table", table);
  Buffer<float> y("y", rows.size() * kColumns);
  const LookUp<Format> call{ids, stored, y, kColumns};
  emulated::launch({"look_up", {unsigned(rows.size())}, {kRowThreads}, 0, 3}, [&] { look_up<Format>(call); });
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t c = 0; c < kColumns; ++c) {
      EXPECT_EQ(y.elements()[i * kColumns + c], Format::widen(table[size_t(rows[i]) * kColumns + c]));
    }
  }
}

TEST(Rows, LookUp) {
  check_look_up<F32Format>();
  check_look_up<F16Format>();
  check_look_up<Bf16Format>();
}

TEST(Rows, RotaryTable) {
  const std::vector<int64_t> positions = {0, 1, 77, 131071};
  for (const int half : {1, 6, 64}) {
    std::vector<float> frequencies;
    for (int i = 0; i < half; ++i) frequencies.push_back(1.0f / float(std::pow(5e5, double(i) / half)));
    for (const double base : {0.0, 12345.6}) {
      Buffer<int64_t> at("positions", positions);
      Buffer<float> given("frequencies", frequencies), cosines("cos", positions.size() * size_t(half)),
          sines("sin", positions.size() * size_t(half));
      RotaryTable call{};
      call.positions = at;
      if (base == 0) call.frequencies = given;
      call.cos = cosines;
      call.sin = sines;
      call.half = half;
      call.scale = 1.25f;
      call.base = base;
      const emulated::Dim grid = {unsigned(positions.size())};
      emulated::launch({"rotary_table", grid, {kRowThreads}, 0, 2}, [&] { rotary_table(call); });
      for (size_t t = 0; t < positions.size(); ++t) {
        for (int i = 0; i < half; ++i) {
          const float frequency =
              base == 0 ? frequencies[size_t(i)] : 1.0f / float(std::pow(base, double(float(2 * i) / float(2 * half))));
          const double angle = double(float(positions[t]) * frequency);
          ASSERT_NEAR(double(cosines.elements()[t * size_t(half) + size_t(i)]), 1.25 * std::cos(angle), 3e-7);
          ASSERT_NEAR(double(sines.elements()[t * size_t(half) + size_t(i)]), 1.25 * std::sin(angle), 3e-7);
        }
      }
    }
  }
}

}  // namespace
}  // namespace lathe::backend::cuda
