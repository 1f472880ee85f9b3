// The emulated tiles: sums by hand, what is zero after a write, what is refused; and on a machine with AMX that they
// are what its instructions give, to the bit.
#include "backend/cpu/tile_emulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "backend/cpu/isa.h"
#include "base/error.h"
#include "base/numbers.h"

namespace lathe::backend::cpu {
namespace {

using testing::HasSubstr;

struct Released {
  ~Released() { emulation::release(); }
};

TileConfig config_of(std::vector<std::pair<int, int>> shapes) {  // rows, bytes
  TileConfig config;
  for (size_t i = 0; i < shapes.size(); ++i) {
    config.rows[i] = uint8_t(shapes[i].first);
    config.row_bytes[i] = uint16_t(shapes[i].second);
  }
  return config;
}

// One row times one pair of columns: sum + even + odd.
float bf16_sum(float sum, std::vector<std::pair<float, float>> even, std::vector<std::pair<float, float>> odd) {
  std::vector<uint16_t> a(32, 0), b(16 * 32, 0);
  for (size_t k = 0; k < even.size(); ++k) {
    a[2 * k] = f32_to_bf16(even[k].first);
    b[k * 32] = f32_to_bf16(even[k].second);
  }
  for (size_t k = 0; k < odd.size(); ++k) {
    a[2 * k + 1] = f32_to_bf16(odd[k].first);
    b[k * 32 + 1] = f32_to_bf16(odd[k].second);
  }
  float c[16] = {sum};
  const Released released;
  emulation::configure(config_of({{1, 64}, {1, 64}, {16, 64}}));
  emulation::load(0, c, 64);
  emulation::load(1, a.data(), 64);
  emulation::load(2, b.data(), 64);
  emulation::multiply(TileProduct::bf16, 0, 1, 2);
  emulation::store(0, c, 64);
  return c[0];
}

TEST(TileEmulation, Bf16SumsAreRoundedInTheirOrder) {
  EXPECT_EQ(bf16_sum(1, {{2, 3}}, {{5, 7}}), 42);
  // Half a unit in the last place goes to the even neighbour; two halves, summed before, are a whole one.
  const float half = 0x1p-24f;
  EXPECT_EQ(bf16_sum(1, {{half, 1}}, {}), 1);
  EXPECT_EQ(bf16_sum(1 + 0x1p-23f, {{half, 1}}, {}), 1 + 0x1p-22f);
  EXPECT_EQ(bf16_sum(1, {{half, 1}}, {{half, 1}}), 1 + 0x1p-23f);
  EXPECT_EQ(bf16_sum(1, {{half, 1}, {half, 1}}, {}), 1 + 0x1p-23f);
  // Even columns are summed apart from odd ones: 2^24 + 1 would lose the 1.
  EXPECT_EQ(bf16_sum(0, {{0x1p24f, 1}, {-0x1p24f, 1}}, {{1, 1}}), 1);
  EXPECT_EQ(bf16_sum(0, {{0x1p24f, 1}, {1, 1}, {-0x1p24f, 1}}, {}), 0);
}

TEST(TileEmulation, SubnormalNumbersAreZero) {
  const float least = std::numeric_limits<float>::min();
  EXPECT_EQ(bf16_sum(0, {{0x1p-130f, 0x1p100f}}, {}), 0);       // on the way in
  EXPECT_EQ(bf16_sum(0x1p-130f, {{1, 0}}, {}), 0);              // in the sums
  EXPECT_EQ(bf16_sum(0, {{0x1p-70f, 0x1p-60f}}, {}), 0);        // a product
  EXPECT_EQ(bf16_sum(least, {{least, -0.5f}}, {}), least);      // which is flushed before it is added
  EXPECT_EQ(bf16_sum(0, {{least, 1.5f}, {least, -1}}, {}), 0);  // a sum
  // A product that is subnormal counts within a fused sum.
  EXPECT_EQ(bf16_sum(0, {{least, 1}, {0x1p-75f, 0x1p-55f}}, {}), least + 0x1p-130f);
  EXPECT_TRUE(std::isnan(bf16_sum(0, {{INFINITY, 0}}, {})));
  EXPECT_EQ(bf16_sum(0, {{0x1p100f, 0x1p100f}}, {}), INFINITY);
}

TEST(TileEmulation, BytesAreSignedOrNot) {
  const uint8_t a[4] = {200, 1, 255, 3};
  alignas(64) uint8_t b[64] = {255, 2, 128, 4};
  const auto sum = [&](TileProduct product) {
    int32_t c[16] = {1000};
    const Released released;
    emulation::configure(config_of({{1, 64}, {1, 4}, {1, 64}}));
    emulation::load(0, c, 64);
    emulation::load(1, a, 4);
    emulation::load(2, b, 64);
    emulation::multiply(product, 0, 1, 2);
    emulation::store(0, c, 64);
    return c[0];
  };
  EXPECT_EQ(sum(TileProduct::u8_u8), 1000 + 200 * 255 + 2 + 255 * 128 + 12);
  EXPECT_EQ(sum(TileProduct::u8_s8), 1000 - 200 + 2 - 255 * 128 + 12);
  EXPECT_EQ(sum(TileProduct::s8_u8), 1000 - 56 * 255 + 2 - 128 + 12);
  EXPECT_EQ(sum(TileProduct::s8_s8), 1000 + 56 + 2 + 128 + 12);
}

TEST(TileEmulation, AConfigurationClears) {
  const Released released;
  std::vector<uint8_t> ones(1024, 1), found(1024, 7);
  emulation::configure(config_of({{16, 64}, {2, 8}}));
  emulation::load(0, ones.data(), 64);
  emulation::store(0, found.data(), 64);
  EXPECT_EQ(found, ones);
  emulation::configure(config_of({{16, 64}, {2, 8}}));
  emulation::store(0, found.data(), 64);
  EXPECT_EQ(found, std::vector<uint8_t>(1024, 0));
  // Only what is of the tile's shape is stored, at any distance; 0 gives the same row to all.
  std::fill(found.begin(), found.end(), uint8_t(7));
  const uint8_t row[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  emulation::load(1, row, 0);
  emulation::store(1, found.data(), 100);
  EXPECT_EQ(std::memcmp(found.data(), row, 8), 0);
  EXPECT_EQ(std::memcmp(found.data() + 100, row, 8), 0);
  EXPECT_EQ(found[8], 7);
  EXPECT_EQ(found[200], 7);
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
    return error.what();
  }
  return "";
}

TEST(TileEmulation, MisuseIsSaid) {
  const Released released;
  std::vector<uint8_t> memory(1024);
  EXPECT_FALSE(emulation::is_configured());
  EXPECT_THAT(error_of([&] { emulation::load(0, memory.data(), 64); }), HasSubstr("before tiles are configured"));
  EXPECT_THAT(error_of([&] { emulation::multiply(TileProduct::bf16, 0, 1, 2); }),
              HasSubstr("before tiles are configured"));
  emulation::configure(config_of({{16, 64}, {16, 32}, {8, 64}, {16, 64}, {12, 64}, {16, 32}, {0, 0}, {8, 62}}));
  EXPECT_TRUE(emulation::is_configured());
  EXPECT_EQ(error_of([&] { emulation::multiply(TileProduct::bf16, 0, 1, 2); }), "");
  EXPECT_THAT(error_of([&] { emulation::zero(6); }), HasSubstr("tile 6, which is not configured"));
  EXPECT_THAT(error_of([&] { emulation::store(8, memory.data(), 64); }), HasSubstr("there are 8"));
  EXPECT_THAT(error_of([&] { emulation::multiply(TileProduct::s8_s8, 0, 1, 1); }), HasSubstr("have to be three"));
  EXPECT_THAT(error_of([&] { emulation::multiply(TileProduct::s8_s8, 0, 3, 2); }), HasSubstr("[16][64] and [8][64]"));
  EXPECT_THAT(error_of([&] { emulation::multiply(TileProduct::s8_s8, 4, 1, 2); }), HasSubstr("into [12][64]"));
  EXPECT_THAT(error_of([&] { emulation::multiply(TileProduct::s8_s8, 5, 1, 2); }), HasSubstr("into [16][32]"));
  EXPECT_THAT(error_of([&] { emulation::multiply(TileProduct::s8_s8, 0, 1, 7); }), HasSubstr("62"));
  emulation::release();
  EXPECT_THAT(error_of([&] { emulation::zero(0); }), HasSubstr("before tiles are configured"));
  // Configurations that the instruction refuses.
  EXPECT_THAT(error_of([&] { emulation::configure(config_of({{17, 64}})); }), HasSubstr("17 rows"));
  EXPECT_THAT(error_of([&] { emulation::configure(config_of({{16, 65}})); }), HasSubstr("65 bytes"));
  EXPECT_THAT(error_of([&] { emulation::configure(config_of({{0, 64}})); }), HasSubstr("0 rows"));
  EXPECT_THAT(error_of([&] { emulation::configure(config_of(std::vector<std::pair<int, int>>(9, {1, 4}))); }),
              HasSubstr("tile 8"));
  TileConfig other;
  other.palette = 2;
  EXPECT_THAT(error_of([&] { emulation::configure(other); }), HasSubstr("palette 2"));
  EXPECT_FALSE(emulation::is_configured());
}

// Numbers of all magnitudes: what is flushed and what overflows, too.
std::vector<uint16_t> random_bf16(size_t count, std::mt19937& random, bool wild) {
  std::vector<uint16_t> out(count);
  std::normal_distribution<float> normal;
  for (uint16_t& v : out) v = wild ? uint16_t(random()) : f32_to_bf16(normal(random));
  return out;
}

TEST(TileEmulation, IsTheInstruction) {
  if (!has_isa(Isa::amx)) GTEST_SKIP() << "this machine has no AMX: nothing to compare the emulation with";
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    const int64_t rows = 1 + int64_t(random() % 16), depth = 1 + int64_t(random() % 16);
    const auto product = TileProduct(random() % 5);
    const bool wild = random() % 2 == 0;
    auto a = random_bf16(size_t(rows * depth * 2), random, wild || product != TileProduct::bf16);
    auto b = random_bf16(size_t(depth * 32), random, wild || product != TileProduct::bf16);
    std::vector<uint32_t> sums(size_t(rows * 16));
    for (uint32_t& v : sums) v = wild || product != TileProduct::bf16 ? uint32_t(random()) : 0x3f800000;
    std::vector<uint32_t> found = sums;
    TileProductCall call{.product = product, .rows = rows, .depth = depth, .a = a.data(), .b = b.data(),
                         .c = sums.data()};
    amx_emulated::tile_product(call);
    call.c = found.data();
    amx::tile_product(call);
    for (size_t i = 0; i < sums.size(); ++i) {
      const bool both_nan = product == TileProduct::bf16 && (sums[i] & 0x7fffffff) > 0x7f800000 &&
                            (found[i] & 0x7fffffff) > 0x7f800000;
      ASSERT_TRUE(both_nan || found[i] == sums[i]) << "round " << round << ", word " << i;
    }
  }
}

}  // namespace
}  // namespace lathe::backend::cpu
