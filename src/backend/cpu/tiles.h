// Tiles of AMX: what a kernel says of them, on machines that have them and where they are emulated (ADR 0018).
//
// A thread has eight tiles, registers of up to 16 rows x 64 bytes. A product multiplies a tile of rows [M][4 K bytes]
// by a tile of weights [K][64 bytes] into a tile of 32-bit sums [M][16]: for row m and feature n the words (row m, k)
// and (k, n) are pairs of bf16 or four bytes. So K words of a panel of 16 features (half_products.h, byte_products.h)
// are a tile as they lie.
#pragma once

#include <stdint.h>

namespace lathe::backend::cpu {

constexpr int64_t kTileRows = 16;   // of a tile
constexpr int64_t kTileSteps = 16;  // words of a row

// What LDTILECFG reads.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// What the tiles of a thread are configured for while it runs a kernel: accumulators 0 and 1 of `upper` rows, 2 and 3
// of `lower` rows, rows in 4 (upper) and 5 (lower), weights in 6 and 7, `depth` words deep. Nothing yet: all 0.
struct TileShape {
  int64_t upper = 0, lower = 0, depth = 0;
};

// Gives a thread's tiles back when its part of a kernel ends. Tiles in use are 8 KiB that the system saves and restores
// at each switch of the thread, and a core that holds them does not reach its deepest sleep; configuring costs some 200
// cycles, so that once for a call of a kernel is as often as it should be.
class TileUse {
 public:
  using Release = void (*)(TileShape&);
  explicit TileUse(Release release) : release_(release) {}
  ~TileUse() {
    if (release_) release_(shape_);
  }
  TileUse(const TileUse&) = delete;
  TileUse& operator=(const TileUse&) = delete;
  TileShape* shape() { return &shape_; }

 private:
  Release release_;  // null: of kernels that use vectors
  TileShape shape_;
};

enum class TileProduct : uint8_t { bf16, s8_s8, s8_u8, u8_s8, u8_u8 };  // types of rows and weights

// c += a b by one instruction, for tests: that the emulation is the instruction. Rows lie one behind the other.
struct TileProductCall {
  TileProduct product;
  int64_t rows, depth;
  const void* a;  // [rows][depth] words
  const void* b;  // [depth][16] words
  void* c;        // [rows][16] words
};

namespace amx {
void tile_product(const TileProductCall& call);
}
namespace amx_emulated {
void tile_product(const TileProductCall& call);
}

}  // namespace lathe::backend::cpu
