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
inline const ByteTier& byte_tier(const Problem& problem) {
  return isa_of(problem) == Isa::avx2 ? avx2::kByteTier : avx512::kByteTier;
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
  const bool dot = rounded && isa_of(problem) != Isa::avx2 && has_avx512_bf16();
  return dot ? HalfForm::bf16_dot : HalfForm::bf16_wide;
}

inline const WinogradTier& winograd_tier(const Problem& problem) {
  return isa_of(problem) == Isa::avx2 ? avx2::kWinogradTier : avx512::kWinogradTier;
}

}  // namespace lathe::backend::cpu
