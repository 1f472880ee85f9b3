// Products with bf16 weights in tiles: a form of half_products.h whose rows are those of bf16_dot.
#include "backend/cpu/half_products.h"

#include "backend/cpu/tile_block.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

void bf16_tile(const HalfTileCall& call) {
  const TileBlock block{.rows = call.rows,
                        .row_count = call.row_count,
                        .taps = call.taps,
                        .steps = call.steps,
                        .panels = {reinterpret_cast<const std::byte*>(call.panels), nullptr},
                        .panel_count = call.panel_count,
                        .initial = nullptr,
                        .sums = reinterpret_cast<std::byte*>(call.sums),
                        .sum_stride = call.sum_stride * 4,
                        .panel_sums = 64};
  multiply_panels<TileProduct::bf16>(block, call.panel_stride * 2, *call.tiles);
}

template <TileProduct kProduct>
void multiply_once(const TileProductCall& call) {
  TileShape shape;
  set_shape(shape, {call.rows, 0, call.depth});
  Tiles::load<0>(call.c, 64);
  Tiles::load<4>(call.a, call.depth * 4);
  Tiles::load<6>(call.b, 64);
  Tiles::multiply<kProduct, 0, 4, 6>();
  Tiles::store<0>(call.c, 64);
  release_tiles(shape);
}

}  // namespace

extern const HalfTileForm kBf16Tiles;
const HalfTileForm kBf16Tiles = {{0, kBlockRows, kBlockRows, kBlockRows, kBlockRows},
                                 kMostPanels,
                                 bf16_tile,
                                 kBlockRows,
                                 kBlockBytes,
                                 kRunBytes,
                                 release_tiles};

void tile_product(const TileProductCall& call) {
  switch (call.product) {
    case TileProduct::bf16:
      return multiply_once<TileProduct::bf16>(call);
    case TileProduct::s8_s8:
      return multiply_once<TileProduct::s8_s8>(call);
    case TileProduct::s8_u8:
      return multiply_once<TileProduct::s8_u8>(call);
    case TileProduct::u8_s8:
      return multiply_once<TileProduct::u8_s8>(call);
    case TileProduct::u8_u8:
      return multiply_once<TileProduct::u8_u8>(call);
  }
}

}  // namespace lathe::backend::cpu::LATHE_TIER
