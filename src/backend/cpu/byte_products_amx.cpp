// Integer products in tiles: the sums of byte_products.h, equal to the bit. What follows the sums is AVX-512's.
#include "backend/cpu/byte_products.h"

#include "backend/cpu/tile_block.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// Signed rows are multiplied as they are. The sums are to be those of rows plus 128, so they begin with 128 times the
// sums of the weights.
void byte_tile(const ByteTileCall& call) {
  TileBlock block{.rows = reinterpret_cast<const void* const*>(call.rows),
                  .row_count = call.row_count,
                  .taps = call.taps,
                  .steps = call.columns / 4,
                  .panels = {reinterpret_cast<const std::byte*>(call.panels), nullptr},
                  .panel_count = call.panel_count,
                  .initial = nullptr,
                  .sums = reinterpret_cast<std::byte*>(call.sums),
                  .sum_stride = call.sum_stride * 4,
                  .panel_sums = 64};
  if (!call.flip) return multiply_panels<TileProduct::u8_s8>(block, call.panel_stride, *call.tiles);
  alignas(64) int32_t initial[kMostPanels * 16];
  for (int64_t p = 0; p < call.panel_count; ++p) {
    store_i32(initial + p * 16, shift_left_32<7>(load_i32(call.weight_sums + p * 16)));
  }
  block.initial = initial;
  multiply_panels<TileProduct::s8_s8>(block, call.panel_stride, *call.tiles);
}

FinishBytesCall with_sums(FinishBytesCall finish, const ByteTileCall& call) {
  finish.sums = call.sums;
  finish.sum_stride = call.sum_stride;
  return finish;
}

void tile_to_bytes(const ByteTileCall& call, const FinishBytesCall& finish) {
  byte_tile(call);
  avx512::kByteTier.to_bytes(with_sums(finish, call));
}

void tile_to_byte_sums(const ByteTileCall& call, const SumBytesCall& finish) {
  byte_tile(call);
  SumBytesCall whole = finish;
  whole.product = with_sums(finish.product, call);
  avx512::kByteTier.to_byte_sums(whole);
}

// The table below is constant, and so cannot hold what another one holds.
void row_sums(const ByteTileCall& call, int32_t* sums) {
  avx512::kByteTier.row_sums(call, sums);
}
void to_bytes(const FinishBytesCall& call) {
  avx512::kByteTier.to_bytes(call);
}
void to_byte_sums(const SumBytesCall& call) {
  avx512::kByteTier.to_byte_sums(call);
}
void to_floats(const FinishBytesCall& call) {
  avx512::kByteTier.to_floats(call);
}
void to_sums(const FinishBytesCall& call) {
  avx512::kByteTier.to_sums(call);
}
void depthwise(const ByteDepthwiseCall& call) {
  avx512::kByteTier.depthwise(call);
}

}  // namespace

extern const ByteTier kByteTier;
const ByteTier kByteTier = {{0, kBlockRows, kBlockRows, kBlockRows, kBlockRows},
                            kMostPanels,
                            byte_tile,
                            tile_to_bytes,
                            tile_to_byte_sums,
                            row_sums,
                            to_bytes,
                            to_byte_sums,
                            to_floats,
                            to_sums,
                            depthwise,
                            kBlockRows,
                            kBlockBytes,
                            kRunBytes,
                            release_tiles};

}  // namespace lathe::backend::cpu::LATHE_TIER
