// Norms, sums and products by element, rows of tables and rotary tables of the library on a GPU, and memory of the host
// that copies need not wait for.
#include <cmath>
#include <cstring>
#include <random>

#include "backend/cuda/host/on_device.h"
#include "base/numbers.h"

namespace lathe::backend::cuda {
namespace {

class RowsOnDevice : public OnDevice {
 protected:
  static std::vector<float> random_floats(size_t count, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.2f, 1.0f);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
  }
};

TEST_F(RowsOnDevice, Normalise) {
  constexpr int kTokens = 5, kColumns = 777;
  const auto x = random_floats(kTokens * kColumns, 1);
  const auto scale = random_floats(kColumns, 2), bias = random_floats(kColumns, 3);
  LatheCudaNormalise call = {};
  call.x = upload(x);
  call.scale = upload(scale);
  call.bias = upload(bias);
  float* const floats = upload(std::vector<float>(x.size()));
  uint16_t* const halves = upload(std::vector<uint16_t>(x.size()));
  call.tokens = kTokens;
  call.columns = kColumns;
  call.norm = LATHE_CUDA_NORM_LAYER;
  call.epsilon = 1e-5f;
  call.y = floats;
  good(api->normalise(stream, &call, &message));
  call.y = halves;
  call.rounding = LATHE_CUDA_ROUND_F16;
  good(api->normalise(stream, &call, &message));
  const auto found = download(floats, x.size());
  const auto rounded = download(halves, x.size());
  for (size_t t = 0; t < kTokens; ++t) {
    double mean = 0, squares = 0;
    for (size_t c = 0; c < kColumns; ++c) mean += double(x[t * kColumns + c]) / kColumns;
    for (size_t c = 0; c < kColumns; ++c) squares += std::pow(double(x[t * kColumns + c]) - mean, 2) / kColumns;
    for (size_t c = 0; c < kColumns; ++c) {
      const size_t at = t * kColumns + c;
      const double expected = (double(x[at]) - mean) / std::sqrt(squares + 1e-5) * double(scale[c]) + double(bias[c]);
      ASSERT_NEAR(double(found[at]), expected, 4e-6 * (1 + std::abs(expected)));
      ASSERT_EQ(rounded[at], f32_to_f16(found[at]));
    }
  }
}

TEST_F(RowsOnDevice, Combine) {
  const size_t count = 2'000'003;  // more than one round of the grid
  const auto a = random_floats(count, 1), b = random_floats(count, 2), r = random_floats(count, 3);
  LatheCudaCombine call = {upload(a), upload(b), nullptr, upload(r), int64_t(count), LATHE_CUDA_MULTIPLY};
  call.residual = call.y;
  good(api->combine(stream, &call, &message));
  const auto found = download(call.y, count);
  for (size_t i = 0; i < count; ++i) {
    ASSERT_NEAR(double(found[i]), double(a[i]) * double(b[i]) + double(r[i]), 3e-6);  // fused or not
  }
}

TEST_F(RowsOnDevice, LookUp) {
  constexpr int kColumns = 130;
  const std::vector<int64_t> rows = {6, 0, 3, 6};
  std::vector<uint16_t> table(7 * kColumns);
  for (size_t i = 0; i < table.size(); ++i) table[i] = uint16_t(i * 31 % 15000);
  LatheCudaLookUp call = {upload(rows), upload(table),  upload(std::vector<float>(rows.size() * kColumns)), 4,
                          kColumns,     LATHE_CUDA_BF16};
  good(api->look_up(stream, &call, &message));
  const auto found = download(call.y, rows.size() * kColumns);
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i], bf16_to_f32(table[size_t(rows[i / kColumns]) * kColumns + i % kColumns]));
  }
}

TEST_F(RowsOnDevice, RotaryTable) {
  const std::vector<int64_t> positions = {0, 3, 4095, 131071};
  constexpr int kHalf = 64;
  std::vector<float> frequencies;
  for (int i = 0; i < kHalf; ++i) frequencies.push_back(1.0f / float(std::pow(1e4, double(i) / kHalf)));
  const std::vector<float> nothing(positions.size() * kHalf);
  for (const double base : {0.0, 1e4}) {
    LatheCudaRotaryTable call = {upload(positions),
                                 base > 0 ? nullptr : upload(frequencies),
                                 upload(nothing),
                                 upload(nothing),
                                 4,
                                 kHalf,
                                 1.5f,
                                 base};
    good(api->rotary_table(stream, &call, &message));
    const auto cosines = download(call.cos, nothing.size()), sines = download(call.sin, nothing.size());
    for (size_t i = 0; i < nothing.size(); ++i) {
      const double angle = double(float(positions[i / kHalf]) * frequencies[i % kHalf]);
      // A power that is rounded to the next float turns a large angle that much further.
      const double bound = 4e-7 + (base > 0 ? 2e-7 * angle : 0);
      ASSERT_NEAR(double(cosines[i]), 1.5 * std::cos(angle), 1.5 * bound);
      ASSERT_NEAR(double(sines[i]), 1.5 * std::sin(angle), 1.5 * bound);
    }
  }
}

TEST_F(RowsOnDevice, MemoryOfTheHost) {
  void* host = nullptr;
  good(api->allocate_host(0, 4096, &host, &message));
  std::memset(host, 7, 4096);
  uint8_t* const there = upload(std::vector<uint8_t>(4096));
  good(api->copy_in(stream, there, host, 4096, &message));
  EXPECT_EQ(download(there, 4096), std::vector<uint8_t>(4096, 7));
  good(api->release_host(0, host, &message));
}

}  // namespace
}  // namespace lathe::backend::cuda
