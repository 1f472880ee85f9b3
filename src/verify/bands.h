// The bounds of the verification contract, by precision (design.md section 5).
#pragma once

#include <string_view>

namespace lathe::verify {

struct Band {
  double mean_kl;  // against fp32 on the same weights
  double top1;     // share of positions
};

// `compute` as plans name it: "f32", "f16", "bf16", "i8", "i16".
inline Band band_of(std::string_view compute) {
  if (compute == "f16" || compute == "i16") return {1e-4, 0.995};
  if (compute == "bf16") return {1e-3, 0.99};
  if (compute == "i8") return {5e-3, 0.97};
  return {1e-6, 0.999};
}
constexpr Band kFp32Band = {1e-6, 0.999};

// Gate 2: error of a tensor as a share of its largest magnitude, which counts as at least kFloor.
constexpr double kTensorBound = 1e-4;
constexpr double kFloor = 1e-6;

}  // namespace lathe::verify
