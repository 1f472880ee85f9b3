// Blocks of rows and panels in tiles against arithmetic: bf16 within the bound of half_products_test, bytes to the bit.
// Real instructions where the machine has them, else the emulation alone.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backend/cpu/tiers.h"
#include "backend/device.h"
#include "backend/cpu/tile_emulation.h"
#include "base/error.h"
#include "base/numbers.h"

namespace lathe::backend::cpu {
namespace {

std::vector<Isa> isas() {
  std::vector<Isa> found;
  for (const Isa isa : {Isa::amx, Isa::amx_emulated}) {
    if (has_isa(isa)) found.push_back(isa);
  }
  return found;
}

// How the rows of a tap lie: one behind the other, the same for all (padding), or anywhere.
enum class Rows { even, same, anywhere };

struct Case {
  int64_t rows, panels, taps, steps;
  Rows kind;
};

// Words in memory with their rows. Rows end where the memory does: reading behind one is seen by sanitisers.
template <class T>
struct Data {
  Data(const Case& p, std::mt19937& random, int64_t word) : numbers(p.steps * word) {
    const int64_t pitch = numbers + (p.kind == Rows::even ? 3 * word : 0);
    x.resize(size_t(p.taps * p.rows * pitch - (pitch - numbers)));
    w.resize(size_t(p.panels * p.taps * p.steps * 16 * word));
    for (int64_t t = 0; t < p.taps; ++t) {
      for (int64_t r = 0; r < p.rows; ++r) {
        const int64_t at = p.kind == Rows::even ? r : p.kind == Rows::same ? 0 : int64_t(random()) % p.rows;
        rows.push_back(x.data() + (t * p.rows + at) * pitch);
      }
    }
  }
  int64_t numbers;  // of a row
  std::vector<T> x, w;
  std::vector<const T*> rows;
};

template <class Check>
void each_problem(Check check) {
  if (isas().empty()) GTEST_SKIP() << "neither AMX nor AVX-512 here";
  std::mt19937 random(3);
  for (const int64_t rows : {1, 2, 7, 15, 16, 17, 31, 32}) {
    for (const int64_t panels : {1, 2, 3, 4}) {
      for (const int64_t steps : {1, 7, 16, 17, 20, 32, 37, 130}) {
        for (const int64_t taps : {1, 3}) {
          for (const Rows kind : {Rows::even, Rows::same, Rows::anywhere}) {
            const Case p{rows, panels, taps, steps, kind};
            SCOPED_TRACE(fmt::format("{} rows ({}), {} panels, {} taps of {}", rows, int(kind), panels, taps, steps));
            check(p, random);
            if (testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(TileProducts, Bf16IsTheDefinition) {
  each_problem([](const Case& p, std::mt19937& random) {
    Data<uint16_t> data(p, random, 2);
    std::normal_distribution<float> normal;
    for (uint16_t& v : data.x) v = f32_to_bf16(normal(random));
    for (uint16_t& v : data.w) v = f32_to_bf16(normal(random));
    for (const Isa isa : isas()) {
      const HalfTileForm& form = half_tile_form(isa, HalfForm::bf16_dot);
      std::vector<float> sums(size_t(p.rows * 72), -1.0f);
      {
        TileUse tiles(form.release);
        form.tile({.rows = reinterpret_cast<const void* const*>(data.rows.data()),
                   .row_count = p.rows,
                   .taps = p.taps,
                   .steps = p.steps,
                   .panels = data.w.data(),
                   .panel_stride = p.taps * p.steps * 32,
                   .panel_count = p.panels,
                   .sums = sums.data(),
                   .sum_stride = 72,
                   .tiles = tiles.shape()});
      }
      EXPECT_FALSE(emulation::is_configured());
      for (int64_t r = 0; r < p.rows; ++r) {
        for (int64_t j = 0; j < 16 * p.panels; ++j) {
          double sum = 0, magnitude = 0;
          for (int64_t i = 0; i < p.taps * data.numbers; ++i) {
            const double x = bf16_to_f32(data.rows[size_t(i / data.numbers * p.rows + r)][i % data.numbers]);
            const size_t at = size_t((j / 16 * p.taps * p.steps + i / 2) * 32 + j % 16 * 2 + i % 2);
            sum += x * bf16_to_f32(data.w[at]);
            magnitude += std::abs(x * bf16_to_f32(data.w[at]));
          }
          ASSERT_NEAR(sums[size_t(r * 72 + j)], sum, 1e-6 * magnitude) << to_string(isa) << " row " << r << ", " << j;
        }
        for (int64_t j = 16 * p.panels; j < 72; ++j) ASSERT_EQ(sums[size_t(r * 72 + j)], -1) << "behind row " << r;
      }
    }
  });
}

// Sums with all bytes at their ends wrap nowhere: 255 * 128 * 4 * 390 < 2^31.
TEST(TileProducts, BytesAreExact) {
  each_problem([](const Case& p, std::mt19937& random) {
    Data<uint8_t> data(p, random, 4);
    const bool extreme = random() % 2 == 0;
    for (uint8_t& v : data.x) v = uint8_t(extreme ? 255 : random());
    for (uint8_t& v : data.w) v = uint8_t(extreme ? 128 : random());
    std::vector<int32_t> weight_sums(64, 0);
    for (size_t i = 0; i < data.w.size(); ++i) {
      const size_t panel = i / size_t(p.taps * p.steps * 64);
      weight_sums[panel * 16 + i / 4 % 16] += int8_t(data.w[i]);
    }
    for (const bool flip : {false, true}) {
      std::vector<int32_t> expected;
      for (int64_t r = 0; r < p.rows; ++r) {
        for (int64_t j = 0; j < 16 * p.panels; ++j) {
          int32_t sum = 0;
          for (int64_t i = 0; i < p.taps * data.numbers; ++i) {
            const uint8_t x = data.rows[size_t(i / data.numbers * p.rows + r)][i % data.numbers];
            const size_t at = size_t((j / 16 * p.taps * p.steps + i / 4) * 64 + j % 16 * 4 + i % 4);
            sum += int32_t(uint8_t(flip ? x ^ 0x80 : x)) * int8_t(data.w[at]);
          }
          expected.push_back(sum);
        }
      }
      for (const Isa isa : isas()) {
        const ByteTier& tier = byte_tier(isa);
        std::vector<int32_t> sums(expected.size());
        TileUse tiles(tier.release);
        tier.tile({.rows = data.rows.data(),
                   .row_count = p.rows,
                   .taps = p.taps,
                   .columns = data.numbers,
                   .flip = flip,
                   .panels = reinterpret_cast<const int8_t*>(data.w.data()),
                   .panel_stride = p.taps * p.steps * 64,
                   .panel_count = p.panels,
                   .sums = sums.data(),
                   .sum_stride = 16 * p.panels,
                   .weight_sums = weight_sums.data(),
                   .tiles = tiles.shape()});
        ASSERT_EQ(sums, expected) << to_string(isa);
      }
    }
  });
}

// No columns: sums of nothing, without a tile of no depth.
TEST(TileProducts, NothingIsZero) {
  for (const Isa isa : isas()) {
    const HalfTileForm& form = half_tile_form(isa, HalfForm::bf16_dot);
    std::vector<float> sums(3 * 32, 1.0f);
    const void* rows[3] = {};
    TileUse tiles(form.release);
    form.tile({.rows = rows, .row_count = 3, .taps = 1, .steps = 0, .panels = nullptr, .panel_stride = 0,
               .panel_count = 2, .sums = sums.data(), .sum_stride = 32, .tiles = tiles.shape()});
    EXPECT_EQ(sums, std::vector<float>(3 * 32, 0.0f));
    EXPECT_FALSE(emulation::is_configured());
  }
}

TEST(TileProducts, EmulatedTilesAreChosenByNameOnly) {
  EXPECT_NE(best_isa(), Isa::amx_emulated);
  if (!has_isa(Isa::amx_emulated)) GTEST_SKIP() << "no AVX-512 here";
  const Device& device = get_device("cpu");
  const int chosen = device.choose_isa("amx_emulated");
  EXPECT_EQ(Isa(chosen), Isa::amx_emulated);
  EXPECT_EQ(isa_name(device, chosen), "amx_emulated");
  for (const Capability& capability : device.capabilities()) EXPECT_NE(capability.isa, "amx_emulated");
}

// A form that is asked for a product without the thread's tiles, or a kernel that releases between two products,
// would compute on tiles that are not configured: the emulation says so.
TEST(TileProducts, ReleasedTilesAreSeen) {
  if (!has_isa(Isa::amx_emulated)) GTEST_SKIP() << "no AVX-512 here";
  const HalfTileForm& form = half_tile_form(Isa::amx_emulated, HalfForm::bf16_dot);
  std::vector<uint16_t> x(32), w(512);
  std::vector<float> sums(16);
  const void* row = x.data();
  TileShape shape;
  const HalfTileCall call{.rows = &row, .row_count = 1, .taps = 1, .steps = 16, .panels = w.data(), .panel_stride = 512,
                          .panel_count = 1, .sums = sums.data(), .sum_stride = 16, .tiles = &shape};
  form.tile(call);
  EXPECT_TRUE(emulation::is_configured());
  emulation::release();  // behind the kernel's back: its shape says that they are configured
  EXPECT_THROW(form.tile(call), Error);
  shape = {};
  EXPECT_NO_THROW(form.tile(call));
  form.release(shape);
  EXPECT_FALSE(emulation::is_configured());
}

}  // namespace
}  // namespace lathe::backend::cpu
