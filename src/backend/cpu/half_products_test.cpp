// Tiles with 16-bit weights against sums of numbers that were rounded by arithmetic, on every tier and in every form.
#include "backend/cpu/half_products.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "backend/cpu/half_layouts.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/tiers.h"
#include "base/error.h"
#include "base/numbers.h"

namespace lathe::backend::cpu {
namespace {

// To nearest even with `bits` significant bits, by arithmetic and not on the representation; normal numbers only.
double rounded(double x, int bits) {
  if (x == 0) return x;
  int exponent = 0;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1.0, exponent - bits);
  return std::nearbyint(x / unit) * unit;
}

const HalfTier& tier_of(Isa isa) {
  return isa == Isa::avx2 ? avx2::kHalfTier : avx512::kHalfTier;
}

bool runs(Isa isa, HalfForm form) {
  if (!has_isa(isa)) return false;
  if (has_tiles(isa)) return form == HalfForm::bf16_dot;
  return form != HalfForm::bf16_dot || (isa != Isa::avx2 && has_avx512_bf16());
}

// One tile of `rows` x `panels` over `taps` of `columns`, packed as the layouts do.
struct Tile {
  int64_t rows, panels, taps, columns;
  std::vector<float> x;  // [taps][rows][columns]
  std::vector<float> w;  // [panels * 16][columns][taps], as a convolution's weights

  std::vector<float> run(Isa isa, HalfForm form) const {
    const HalfTier& tier = tier_of(isa);
    const bool f16 = form == HalfForm::f16;
    const GraphLayout& layout = f16 ? kConvF16Layout : kConvBf16Layout;
    const plan::Instruction instruction{
        .op = "lathe.Conv", .kernel = {}, .name = {}, .attributes = {}, .inputs = {}, .outputs = {}};
    const auto plain = tensor::Tensor::of<float>({panels * 16, columns, taps}, std::span<const float>(w));
    const tensor::Tensor packed = layout.pack(instruction, plain);
    const HalfPanels sizes = half_panels(panels * 16, taps, columns, form);
    const int64_t pitch = sizes.steps * sizes.step_columns;
    std::vector<float> wide(size_t(taps * rows * pitch), 0.0f);
    std::vector<uint16_t> narrow(wide.size(), 0);
    std::vector<const void*> at;
    for (int64_t i = 0; i < taps * rows; ++i) {
      const float* from = x.data() + i * columns;
      if (f16) {
        std::copy(from, from + columns, wide.data() + i * pitch);
      } else {
        tier.round_bf16(from, columns, wide.data() + i * pitch);
      }
      tier.to_bf16(from, columns, narrow.data() + i * pitch);
      at.push_back(form == HalfForm::bf16_dot ? static_cast<const void*>(narrow.data() + i * pitch)
                                              : static_cast<const void*>(wide.data() + i * pitch));
    }
    std::vector<float> sums(size_t(rows * panels * 16));
    const HalfTileForm& tiles = half_tile_form(isa, form);
    TileUse use(tiles.release);
    tiles.tile({.rows = at.data(),
                .row_count = rows,
                .taps = taps,
                .steps = sizes.steps,
                .panels = reinterpret_cast<const uint16_t*>(packed.bytes().data()),
                .panel_stride = sizes.panel_numbers(),
                .panel_count = panels,
                .sums = sums.data(),
                .sum_stride = panels * 16,
                .tiles = use.shape()});
    return sums;
  }

  // Sums in double of x and w as `round_x` and `round_w` make them, and of their magnitudes.
  template <class X, class W>
  void expected(X round_x, W round_w, std::vector<double>& sums, std::vector<double>& magnitudes) const {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < panels * 16; ++j) {
        double sum = 0, magnitude = 0;
        for (int64_t t = 0; t < taps; ++t) {
          for (int64_t c = 0; c < columns; ++c) {
            const double product =
                round_x(x[size_t((t * rows + r) * columns + c)]) * round_w(w[size_t((j * columns + c) * taps + t)]);
            sum += product;
            magnitude += std::abs(product);
          }
        }
        sums.push_back(sum);
        magnitudes.push_back(magnitude);
      }
    }
  }
};

template <class Check>
void each_tile(bool integers, Check check) {
  std::mt19937 random(1);
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx, Isa::amx_emulated}) {
    for (const HalfForm form : {HalfForm::bf16_dot, HalfForm::bf16_wide, HalfForm::f16}) {
      if (!runs(isa, form)) continue;
      const HalfTileForm& tiles = half_tile_form(isa, form);
      for (int panels = 1; panels <= tiles.max_panels; ++panels) {
        for (int rows = 1; rows <= tiles.tile_rows[panels]; ++rows) {
          for (const int64_t columns : {16, 19, 40, 64, 97}) {
            for (const int64_t taps : {1, 3}) {
              Tile tile{.rows = rows, .panels = panels, .taps = taps, .columns = columns, .x = {}, .w = {}};
              tile.x.resize(size_t(taps * rows * columns));
              tile.w.resize(size_t(panels * 16 * columns * taps));
              std::uniform_int_distribution<int> whole(-128, 128);
              std::normal_distribution<float> real;
              for (float& v : tile.x) v = integers ? float(whole(random)) : real(random);
              for (float& v : tile.w) v = integers ? float(whole(random)) : real(random);
              SCOPED_TRACE(fmt::format("{}, form {}, {} rows, {} panels, {} taps of {}", to_string(isa), int(form),
                                       rows, panels, taps, columns));
              check(tile, isa, form);
            }
          }
        }
      }
    }
  }
}

TEST(HalfProducts, WholeNumbersAreExact) {
  each_tile(true, [](const Tile& tile, Isa isa, HalfForm form) {
    std::vector<double> sums, magnitudes;
    const auto same = [](double v) { return v; };
    tile.expected(same, same, sums, magnitudes);
    const std::vector<float> found = tile.run(isa, form);
    for (size_t i = 0; i < sums.size(); ++i) ASSERT_EQ(double(found[i]), sums[i]) << i;
  });
}

TEST(HalfProducts, OtherNumbersAreRoundedOnce) {
  each_tile(false, [](const Tile& tile, Isa isa, HalfForm form) {
    std::vector<double> sums, magnitudes;
    const bool f16 = form == HalfForm::f16;
    tile.expected([&](double v) { return f16 ? v : rounded(v, 8); }, [&](double v) { return rounded(v, f16 ? 11 : 8); },
                  sums, magnitudes);
    const std::vector<float> found = tile.run(isa, form);
    for (size_t i = 0; i < sums.size(); ++i) ASSERT_NEAR(found[i], sums[i], 1e-6 * magnitudes[i]) << i;
  });
}

TEST(HalfProducts, NumbersAreRoundedAsTheDefinition) {
  std::vector<float> numbers = {0.0f,    -0.0f, 1.0f,     1.00390625f, 1.01171875f, 65504.0f, 65520.0f, 1e-8f, 1e38f,
                                3.4e38f, -2.5f, INFINITY, -INFINITY,   NAN,         6e-8f,    1e-5f,    0.1f};
  std::mt19937 random(2);
  for (int i = 0; i < 1000; ++i) {
    const uint32_t bits = random();
    numbers.push_back(0);
    std::memcpy(&numbers.back(), &bits, 4);
  }
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    if (!has_isa(isa)) continue;
    const HalfTier& tier = tier_of(isa);
    std::vector<uint16_t> bf16(numbers.size()), f16(numbers.size());
    std::vector<float> wide(numbers.size());
    tier.to_bf16(numbers.data(), int64_t(numbers.size()), bf16.data());
    tier.round_bf16(numbers.data(), int64_t(numbers.size()), wide.data());
    tier.to_f16(numbers.data(), int64_t(numbers.size()), f16.data());
    for (size_t i = 0; i < numbers.size(); ++i) {
      EXPECT_EQ(bf16[i], f32_to_bf16(numbers[i])) << numbers[i];
      EXPECT_EQ(f16[i], f32_to_f16(numbers[i])) << numbers[i];
      const float expected = bf16_to_f32(f32_to_bf16(numbers[i]));
      EXPECT_EQ(std::memcmp(&wide[i], &expected, 4), 0) << numbers[i];
    }
  }
}

}  // namespace
}  // namespace lathe::backend::cpu
