// The tables of the tier that a problem runs on.
#pragma once

#include "backend/cpu/byte_products.h"
#include "backend/cpu/channels.h"
#include "backend/cpu/conv.h"
#include "backend/cpu/elementwise.h"
#include "backend/cpu/half_products.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/pointwise.h"
#include "backend/cpu/quantize.h"
#include "backend/cpu/winograd.h"
#include "backend/graph_kernel.h"

namespace lathe::backend::cpu {

inline Isa isa_of(const Problem& problem) {
  return Isa(problem.isa);
}
inline const ByteTier& byte_tier(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return avx2::kByteTier;
    case Isa::avx512:
      return avx512::kByteTier;
    case Isa::amx:
      return amx::kByteTier;
    case Isa::amx_emulated:
      return amx_emulated::kByteTier;
  }
  return avx2::kByteTier;
}
inline const ByteTier& byte_tier(const Problem& problem) {
  return byte_tier(isa_of(problem));
}
// Rows of the highest tile.
template <class TileTable>
int64_t most_rows(const TileTable& table) {
  int most = 0;
  for (const int rows : table.tile_rows) most = rows > most ? rows : most;
  return most;
}
// How many panels pass a block of rows together.
template <class TileTable>
int64_t run_panels(const TileTable& table, int64_t panel_bytes) {
  const bool fits = table.run_bytes == 0 || panel_bytes * table.max_panels <= table.run_bytes;
  return fits ? table.max_panels : 2;
}
inline const QuantizeTier& quantize_tier(const Problem& problem) {
  return isa_of(problem) == Isa::avx2 ? avx2::kQuantizeTier : avx512::kQuantizeTier;
}
inline const ChannelsTier& channels_tier(const Problem& problem) {
  return isa_of(problem) == Isa::avx2 ? avx2::kChannelsTier : avx512::kChannelsTier;
}
inline const PointwiseTier& pointwise_tier(const Problem& problem) {
  return isa_of(problem) == Isa::avx2 ? avx2::kPointwiseTier : avx512::kPointwiseTier;
}
inline const ConvTier& conv_tier(const Problem& problem) {
  return isa_of(problem) == Isa::avx2 ? avx2::kConvTier : avx512::kConvTier;
}

inline const HalfTier& half_tier(const Problem& problem) {
  return isa_of(problem) == Isa::avx2 ? avx2::kHalfTier : avx512::kHalfTier;
}
// How tiles multiply weights of `type` ("bf16" or "f16") here; `rounded`: by rows that are rounded to bf16.
inline HalfForm half_form(const Problem& problem, std::string_view type, bool rounded) {
  if (type == "f16") return HalfForm::f16;
  const Isa isa = isa_of(problem);
  const bool dot = has_tiles(isa) || (isa == Isa::avx512 && has_avx512_bf16());
  return rounded && dot ? HalfForm::bf16_dot : HalfForm::bf16_wide;
}
inline const HalfTileForm& half_tile_form(Isa isa, HalfForm form) {
  if (form == HalfForm::bf16_dot && isa == Isa::amx) return amx::kBf16Tiles;
  if (form == HalfForm::bf16_dot && isa == Isa::amx_emulated) return amx_emulated::kBf16Tiles;
  return (isa == Isa::avx2 ? avx2::kHalfTier : avx512::kHalfTier).forms[int(form)];
}

inline const WinogradTier& winograd_tier(const Problem& problem) {
  return isa_of(problem) == Isa::avx2 ? avx2::kWinogradTier : avx512::kWinogradTier;
}

}  // namespace lathe::backend::cpu
