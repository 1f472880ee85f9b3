#include <optional>

#include "base/error.h"
#include "verify/verify.h"

namespace lathe::verify {

void check_storable(const plan::EngineFile& engine, const VerifyOptions& options) {
  const plan::Plan& plan = engine.manifest().plan;
  if (!options.fp32 || (plan.compute == "f32" && plan.kv == "f32")) return;
  fail(ErrorCode::usage, "a receipt is of the engine's own precision ({}, cache {}), expected no --precision fp32",
       plan.compute, plan.kv);
}

bool store_receipt(const std::filesystem::path& engine, plan::Receipt& receipt) {
  const std::optional<plan::Receipt> old = plan::EngineFile::open(engine)->receipt();  // the file is unmapped again
  if (old) receipt.sources = old->sources;
  if (!receipt.pass) return false;
  plan::write_receipt(engine, receipt);
  return true;
}

}  // namespace lathe::verify
