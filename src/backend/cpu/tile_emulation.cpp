#include "backend/cpu/tile_emulation.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "base/error.h"

namespace lathe::backend::cpu::emulation {
namespace {

constexpr int kTiles = 8, kMaxRows = 16, kRowBytes = 64, kWords = kRowBytes / 4;

struct Tile {
  int rows = 0, row_bytes = 0;  // 0: not configured
  alignas(64) unsigned char data[kMaxRows][kRowBytes] = {};
};
struct Registers {
  bool configured = false;
  Tile tiles[kTiles];
};

Registers& registers() {
  thread_local Registers own;
  return own;
}

Tile& configured_tile(int tile, std::string_view what) {
  if (tile < 0 || tile >= kTiles) fail(ErrorCode::internal, "{} of tile {}: there are {}", what, tile, kTiles);
  Registers& own = registers();
  if (!own.configured) fail(ErrorCode::internal, "{} of tile {} before tiles are configured", what, tile);
  Tile& found = own.tiles[tile];
  if (found.rows == 0) fail(ErrorCode::internal, "{} of tile {}, which is not configured", what, tile);
  return found;
}

// What is not of the tile's shape is zero after every write.
void clear_rest(Tile& tile) {
  for (int r = 0; r < kMaxRows; ++r) {
    const int from = r < tile.rows ? tile.row_bytes : 0;
    std::memset(tile.data[r] + from, 0, size_t(kRowBytes - from));
  }
}

bool is_subnormal(float x) {
  return x != 0 && std::abs(x) < std::numeric_limits<float>::min();
}
float flushed(float x) {
  return is_subnormal(x) ? std::copysign(0.0f, x) : x;
}
float word_to_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

// sum + a b, rounded once. A product of two bf16 has 16 significant bits, so f32 holds it unless its exponent does not.
float multiply_add(float sum, float a, float b) {
  const float product = a * b;
  const float magnitude = std::abs(product);
  const bool exact = magnitude == 0 ? a == 0 || b == 0 : magnitude > 0x1p-100f && magnitude < 0x1p127f;
  return flushed(exact ? sum + product : std::fma(a, b, sum));
}

// Numbers of a tile, [row][half][word], subnormal ones flushed.
struct Bf16Tile {
  float numbers[kMaxRows][2][kWords];
  bool tame = true;  // 0 or from 2^-49 to 2^62: products are exact, and no sum of them can be subnormal

  explicit Bf16Tile(const Tile& tile) {
    for (int r = 0; r < tile.rows; ++r) {
      for (int n = 0; n < kWords; ++n) {
        uint32_t word;
        std::memcpy(&word, tile.data[r] + 4 * n, 4);
        numbers[r][0][n] = flushed(word_to_float(word << 16));
        numbers[r][1][n] = flushed(word_to_float(word & 0xffff0000u));
        for (const auto& half : numbers[r]) {
          const float magnitude = std::abs(half[n]);
          tame &= magnitude == 0 || (magnitude >= 0x1p-49f && magnitude <= 0x1p62f);
        }
      }
    }
  }
};

// Even and odd columns are summed apart, from 0, then both, then what was there: each sum rounded to nearest even,
// subnormal numbers flushed on the way in and out.
void multiply_bf16(Tile& sums, const Tile& rows, const Tile& weights) {
  const Bf16Tile x(rows), w(weights);
  const bool tame = x.tame && w.tame;
  for (int m = 0; m < sums.rows; ++m) {
    float halves[2][kWords] = {};
    for (int k = 0; k < weights.rows; ++k) {
      for (int half = 0; half < 2; ++half) {
        const float a = x.numbers[m][half][k];
        const float* b = w.numbers[k][half];
        float* to = halves[half];
        if (tame) {
          for (int n = 0; n < kWords; ++n) to[n] += a * b[n];
        } else {
          for (int n = 0; n < kWords; ++n) to[n] = multiply_add(to[n], a, b[n]);
        }
      }
    }
    for (int n = 0; n < sums.row_bytes / 4; ++n) {
      float sum;
      std::memcpy(&sum, sums.data[m] + 4 * n, 4);
      sum = flushed(flushed(sum) + flushed(halves[0][n] + halves[1][n]));
      std::memcpy(sums.data[m] + 4 * n, &sum, 4);
    }
  }
}

// Sums wrap. One instruction's products, at most 64 of 255 * 255, are summed in floats, which is exact below 2^24 and
// which any x86 does four at a time.
template <class X, class W>
void multiply_bytes(Tile& sums, const Tile& rows, const Tile& weights) {
  float wide[kMaxRows * 4][kWords];  // [byte of a row][feature]
  for (int k = 0; k < weights.rows; ++k) {
    for (int i = 0; i < 4; ++i) {
      for (int n = 0; n < kWords; ++n) wide[4 * k + i][n] = W(weights.data[k][4 * n + i]);
    }
  }
  for (int m = 0; m < sums.rows; ++m) {
    float products[kWords] = {};
    for (int i = 0; i < 4 * weights.rows; ++i) {
      const float x = X(rows.data[m][i]);
      for (int n = 0; n < kWords; ++n) products[n] += x * wide[i][n];
    }
    uint32_t totals[kWords];
    std::memcpy(totals, sums.data[m], sizeof totals);
    for (int n = 0; n < kWords; ++n) totals[n] += uint32_t(int32_t(products[n]));
    std::memcpy(sums.data[m], totals, sizeof totals);
  }
}

}  // namespace

void configure(const TileConfig& config) {
  if (config.palette != 1) fail(ErrorCode::internal, "tiles of palette {}", config.palette);
  if (config.start_row != 0) fail(ErrorCode::internal, "tiles that start at row {}", config.start_row);
  for (const uint8_t byte : config.reserved) {
    if (byte != 0) fail(ErrorCode::internal, "a configuration of tiles with {} in a reserved byte", byte);
  }
  for (int i = 0; i < 16; ++i) {
    const int rows = config.rows[i], bytes = config.row_bytes[i];
    if (rows > kMaxRows || bytes > kRowBytes || (rows == 0) != (bytes == 0) || (i >= kTiles && rows != 0)) {
      fail(ErrorCode::internal, "tile {} of {} rows of {} bytes", i, rows, bytes);
    }
  }
  Registers& own = registers();
  own = {};
  own.configured = true;
  for (int i = 0; i < kTiles; ++i) {
    own.tiles[i].rows = config.rows[i];
    own.tiles[i].row_bytes = config.row_bytes[i];
  }
}

void release() noexcept {
  registers() = {};
}

bool is_configured() noexcept {
  return registers().configured;
}

void zero(int tile) {
  Tile& found = configured_tile(tile, "zero");
  std::memset(found.data, 0, sizeof found.data);
}

void load(int tile, const void* memory, int64_t stride) {
  Tile& found = configured_tile(tile, "load");
  const auto* from = static_cast<const unsigned char*>(memory);
  for (int r = 0; r < found.rows; ++r) std::memcpy(found.data[r], from + r * stride, size_t(found.row_bytes));
  clear_rest(found);
}

void store(int tile, void* memory, int64_t stride) {
  const Tile& found = configured_tile(tile, "store");
  auto* to = static_cast<unsigned char*>(memory);
  for (int r = 0; r < found.rows; ++r) std::memcpy(to + r * stride, found.data[r], size_t(found.row_bytes));
}

void multiply(TileProduct product, int sums, int rows, int weights) {
  if (sums == rows || sums == weights || rows == weights) {
    fail(ErrorCode::internal, "a product of tiles {}, {} and {}: they have to be three", sums, rows, weights);
  }
  Tile& c = configured_tile(sums, "product into");
  const Tile& a = configured_tile(rows, "product");
  const Tile& b = configured_tile(weights, "product");
  if (c.row_bytes % 4 != 0 || a.row_bytes % 4 != 0 || b.row_bytes % 4 != 0) {
    fail(ErrorCode::internal, "a product of tiles with rows of {}, {} and {} bytes", c.row_bytes, a.row_bytes,
         b.row_bytes);
  }
  if (c.rows != a.rows || c.row_bytes != b.row_bytes || a.row_bytes != 4 * b.rows) {
    fail(ErrorCode::internal, "a product of tiles [{}][{}] and [{}][{}] into [{}][{}]", a.rows, a.row_bytes, b.rows,
         b.row_bytes, c.rows, c.row_bytes);
  }
  switch (product) {
    case TileProduct::bf16:
      multiply_bf16(c, a, b);
      break;
    case TileProduct::s8_s8:
      multiply_bytes<int8_t, int8_t>(c, a, b);
      break;
    case TileProduct::s8_u8:
      multiply_bytes<int8_t, uint8_t>(c, a, b);
      break;
    case TileProduct::u8_s8:
      multiply_bytes<uint8_t, int8_t>(c, a, b);
      break;
    case TileProduct::u8_u8:
      multiply_bytes<uint8_t, uint8_t>(c, a, b);
      break;
  }
  clear_rest(c);
}

}  // namespace lathe::backend::cpu::emulation
