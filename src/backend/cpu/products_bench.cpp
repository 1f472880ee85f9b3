// Times products with 16-bit and 8-bit weights on one thread: products_bench [isa=..] [ROWSxCOLUMNSxFEATURES...]
//
// Rows lie one behind the other, as those of a dense layer; all panels pass a block of rows that stays in the second
// cache, as in cpu.half_linear and cpu.q_linear. What comes before and after the sums is not timed. Each answer is
// checked on a few elements.
#include <fmt/format.h>
#include <time.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <vector>

#include "backend/cpu/linear_cases.h"
#include "backend/cpu/tiers.h"

namespace lathe::backend::cpu {
namespace {

struct Size {
  int64_t rows, columns, features;
};

double seconds() {
  timespec time;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

// The best of seven samples of 20 ms or more.
double best_time(const std::function<void()>& body) {
  double best = 1e9;
  for (int sample = 0; sample < 7; ++sample) {
    const double start = seconds();
    double now = start;
    int rounds = 0;
    for (; now - start < 0.02; now = seconds(), ++rounds) body();
    best = std::min(best, (now - start) / rounds);
  }
  return best;
}

// All rows by all panels: body(first row, rows, first panel, panels).
template <class Table, class Body>
void each_tile(const Table& table, const Size& size, int64_t row_bytes, Body body) {
  const int64_t panels = size.features / 16;
  const int64_t block = std::max<int64_t>(table.grain, table.block_bytes / row_bytes / table.grain * table.grain);
  for (int64_t at = 0; at < size.rows; at += block) {
    for (int64_t panel = 0; panel < panels; panel += table.max_panels) {
      const int64_t count = std::min<int64_t>(table.max_panels, panels - panel);
      const int64_t end = std::min(at + block, size.rows);
      for (int64_t row = at; row < end; row += table.tile_rows[count]) {
        body(row, std::min<int64_t>(table.tile_rows[count], end - row), panel, count);
      }
    }
  }
}

void report(Isa isa, const char* what, const Size& size, double time, double error) {
  fmt::print("{:12} {:10} {} x {} x {}: {:8.1f} Gop/s, error {:.1e}\n", to_string(isa), what, size.rows, size.columns,
             size.features, 2e-9 * double(size.rows * size.columns * size.features) / time, error);
  std::fflush(stdout);
}

// x [rows][columns], w [features / 16][columns / word][16][word]; x_of and w_of give their numbers as double.
template <class T, class XOf, class WOf, class Y>
double error_of(const Size& size, const T* x, const T* w, int64_t word, XOf x_of, WOf w_of, const Y* y) {
  double worst = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const int64_t r = i * 7919 % size.rows, j = i * 104729 % size.features;
    double sum = 0, magnitude = 1e-30;
    for (int64_t c = 0; c < size.columns; ++c) {
      const int64_t at = ((j / 16 * size.columns / word + c / word) * 16 + j % 16) * word + c % word;
      const double product = x_of(x[r * size.columns + c]) * w_of(w[at]);
      sum += product;
      magnitude += std::abs(product);
    }
    worst = std::max(worst, std::abs(double(y[r * size.features + j]) - sum) / magnitude);
  }
  return worst;
}

void time_bf16(Isa isa, const Size& size) {
  const HalfTileForm& form = half_tile_form(isa, HalfForm::bf16_dot);
  if (!form.tile || (isa == Isa::avx512 && !has_avx512_bf16())) return;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const AlignedBytes x_bytes(size_t(size.rows * size.columns) * 2), w_bytes(size_t(size.columns * size.features) * 2);
  auto* x = reinterpret_cast<uint16_t*>(x_bytes.data);
  auto* w = reinterpret_cast<uint16_t*>(w_bytes.data);
  for (size_t i = 0; i < x_bytes.size / 2; ++i) x[i] = f32_to_bf16(normal(random));
  for (size_t i = 0; i < w_bytes.size / 2; ++i) w[i] = f32_to_bf16(normal(random));
  std::vector<float> y(size_t(size.rows * size.features));
  const double time = best_time([&] {
    TileUse tiles(form.release);
    each_tile(form, size, size.columns * 2, [&](int64_t row, int64_t count, int64_t panel, int64_t panels) {
      const void* rows[kMaxHalfRows];
      for (int64_t r = 0; r < count; ++r) rows[r] = x + (row + r) * size.columns;
      form.tile({.rows = rows,
                 .row_count = count,
                 .taps = 1,
                 .steps = size.columns / 2,
                 .panels = w + panel * size.columns * 16,
                 .panel_stride = size.columns * 16,
                 .panel_count = panels,
                 .sums = y.data() + row * size.features + panel * 16,
                 .sum_stride = size.features,
                 .tiles = tiles.shape()});
    });
  });
  const auto value = [](uint16_t v) { return double(bf16_to_f32(v)); };
  report(isa, "bf16", size, time, error_of(size, x, w, 2, value, value, y.data()));
}

void time_bytes(Isa isa, const Size& size) {
  const ByteTier& tier = byte_tier(isa);
  std::mt19937 random(2);
  const AlignedBytes x_bytes(size_t(size.rows * size.columns)), w_bytes(size_t(size.columns * size.features));
  auto* x = reinterpret_cast<uint8_t*>(x_bytes.data);
  auto* w = reinterpret_cast<uint8_t*>(w_bytes.data);
  for (size_t i = 0; i < x_bytes.size; ++i) x[i] = uint8_t(random());
  for (size_t i = 0; i < w_bytes.size; ++i) w[i] = uint8_t(random());
  std::vector<int32_t> y(size_t(size.rows * size.features));
  const double time = best_time([&] {
    TileUse tiles(tier.release);
    each_tile(tier, size, size.columns, [&](int64_t row, int64_t count, int64_t panel, int64_t panels) {
      const uint8_t* rows[kMaxByteRows];
      for (int64_t r = 0; r < count; ++r) rows[r] = x + (row + r) * size.columns;
      tier.tile({.rows = rows,
                 .row_count = count,
                 .taps = 1,
                 .columns = size.columns,
                 .flip = false,
                 .panels = reinterpret_cast<const int8_t*>(w) + panel * size.columns * 16,
                 .panel_stride = size.columns * 16,
                 .panel_count = panels,
                 .sums = y.data() + row * size.features + panel * 16,
                 .sum_stride = size.features,
                 .tiles = tiles.shape()});
    });
  });
  report(isa, "u8 by s8", size, time,
         error_of(size, x, w, 4, [](uint8_t v) { return double(v); }, [](uint8_t v) { return double(int8_t(v)); },
                  y.data()));
}

}  // namespace
}  // namespace lathe::backend::cpu

int main(int argc, char** argv) {
  using namespace lathe;
  using namespace lathe::backend::cpu;
  std::vector<Isa> isas;
  std::vector<Size> sizes;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      if (argument.starts_with("isa=")) {
        isas.push_back(find_isa(argument.substr(4)).value());
        continue;
      }
      const std::vector<std::string> parts = split(argument, 'x');
      sizes.push_back({std::stoll(parts.at(0)), std::stoll(parts.at(1)), std::stoll(parts.at(2))});
      if (sizes.back().rows < 1 || sizes.back().columns % 4 || sizes.back().features % 16 || sizes.back().columns < 4) {
        fail(ErrorCode::usage, "{}: columns are multiples of 4, features of 16", argument);
      }
    }
    if (isas.empty()) isas = {Isa::avx2, Isa::avx512, Isa::amx};
    if (sizes.empty()) sizes = {{32, 1280, 1280}, {512, 576, 576}, {512, 1280, 1280}, {512, 4096, 4096}};
    for (const Isa isa : isas) {
      if (!has_isa(isa)) {
        fmt::print("{:12} not on this machine\n", to_string(isa));
        continue;
      }
      for (const Size& size : sizes) {
        time_bf16(isa, size);
        time_bytes(isa, size);
      }
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "products_bench: {}\n", error.what());
    return 2;
  }
  return 0;
}
