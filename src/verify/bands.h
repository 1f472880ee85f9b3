// The bounds of the verification contract, by precision (design.md section 5).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace lathe::verify {

struct Band {
  double mean_kl;  // against fp32 on the same weights
  double top1;     // share of positions
};

constexpr Band kFp32Band = {1e-6, 0.999};

// `compute` as plans name it: "f32", "f16", "bf16", "i8", "i16".
inline Band band_of(std::string_view compute) {
  if (compute == "f16" || compute == "i16") return {1e-4, 0.995};
  if (compute == "bf16") return {1e-3, 0.99};
  if (compute == "i8") return {5e-3, 0.97};
  return kFp32Band;
}

// A share measured on few positions scatters: the bound is what the contract asks, less two standard errors of
// a share of that size.
inline double share_bound(double share, int64_t positions) {
  return share - 2 * std::sqrt(share * (1 - share) / double(std::max<int64_t>(positions, 1)));
}

// Gate 2: error of a tensor as a share of its largest magnitude, which counts as at least kFloor.
constexpr double kTensorBound = 1e-4;
constexpr double kFloor = 1e-6;

// The same for other precisions: KL divergence grows with the square of the logits' error.
inline double tensor_bound(const Band& band) {
  return kTensorBound * std::sqrt(band.mean_kl / kFp32Band.mean_kl);
}

}  // namespace lathe::verify
