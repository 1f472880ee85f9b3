// The tables of the tier that a problem runs on.
#pragma once

#include "backend/cpu/byte_products.h"
#include "backend/cpu/channels.h"
#include "backend/cpu/conv.h"
#include "backend/cpu/elementwise.h"
#include "backend/cpu/isa.h"
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
inline const ConvTier& conv_tier(const Problem& problem) {
  return isa_of(problem) == Isa::avx2 ? avx2::kConvTier : avx512::kConvTier;
}

inline const WinogradTier& winograd_tier(const Problem& problem) {
  return isa_of(problem) == Isa::avx2 ? avx2::kWinogradTier : avx512::kWinogradTier;
}

}  // namespace lathe::backend::cpu
