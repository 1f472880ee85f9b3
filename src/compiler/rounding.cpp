#include "compiler/rounding.h"

#include "base/error.h"
#include "plan/precision.h"

namespace lathe::compiler {
namespace {

using contract::Precision;

// `blocks`: of activations in front of block-quantised weights.
Rounding rounding_of(Precision precision, std::string_view blocks) {
  switch (precision) {
    case Precision::fp32:
    case Precision::int8:  // of graphs, which say themselves where they round
      return {"f32", "f32"};
    case Precision::fp16:
      return {"f16", "f16"};
    case Precision::bf16:
      return {"bf16", "bf16"};
    // Activations to 16 bits in blocks. With 8 bits, an activation a thousand times its neighbours (which trained
    // decoders have, at the first and at special tokens) rounds these to zero: docs/architecture.md has the case.
    case Precision::q8:
      return {std::string(blocks), "f16"};
  }
  return {"f32", "f32"};
}

Rounding wished_rounding(Precision own, const std::string& wish, const backend::Device& device) {
  const std::string compute(plan::compute_of(wish));
  if (compute == "f32") return rounding_of(Precision::fp32, "");
  if (compute == "i8" || compute == "i16") {
    if (own == Precision::q8 && device.block_compute == "i16") return {compute, "f16"};
    if (own == Precision::q8) {
      fail(ErrorCode::unsupported, "precision {}: device {} computes block-quantised weights in {}", wish, device.name,
           plan::precision_of(device.block_compute));
    }
    fail(ErrorCode::unsupported, "precision {} needs block-quantised weights, the checkpoint is {}", wish,
         to_string(own));
  }
  if (const Rounding rounding = rounding_of(own, device.block_compute); rounding.compute == compute) return rounding;
  fail(ErrorCode::unsupported, "precision {} for a checkpoint in {}: an engine keeps the checkpoint's own so far", wish,
       to_string(own));
}

}  // namespace

Rounding choose_rounding(const contract::Contract& contract, const std::string& precision, const std::string& kv,
                         const backend::Device& device) {
  Rounding rounding = precision.empty() ? rounding_of(contract.precision, device.block_compute)
                                        : wished_rounding(contract.precision, precision, device);
  if (!kv.empty()) rounding.kv = plan::cache_type(kv);
  return rounding;
}

}  // namespace lathe::compiler
