#include <optional>

#include "base/error.h"
#include "verify/subject.h"
#include "verify/verify.h"

namespace lathe::verify {
namespace {

using plan::EngineFile;
using plan::Receipt;
using plan::VerifyFlags;

// Throws usage where `found`, the engine's receipt, proves more than one made with `flags` would.
void require_not_weaker(const EngineFile& engine, const VerifyFlags& flags) {
  const std::optional<Receipt>& found = engine.receipt();
  if (!found || !found->pass || found->engine_hash != engine.hash()) return;
  const std::string mend =
      fmt::format("; for a weaker one rebuild the engine: lathe build {} -o NEW.lathe", engine.path().string());
  if (!found->flags) {
    if (flags.full) return;
    fail(ErrorCode::usage,
         "the engine's receipt does not say how it was made, so only one made with --full replaces it{}", mend);
  }
  if (found->flags->full && !flags.full) {
    fail(ErrorCode::usage, "the engine's receipt was made with --full, expected --full{}", mend);
  }
  if (found->flags->text_tokens > flags.text_tokens && found->flags->full == flags.full) {
    fail(ErrorCode::usage, "the engine's receipt is of {} tokens of text, found {}: give a longer one with --text{}",
         found->flags->text_tokens, flags.text_tokens, mend);
  }
}

}  // namespace

void check_storable(const EngineFile& engine, const VerifyOptions& options) {
  const plan::Plan& plan = engine.manifest().plan;
  if (options.fp32 && !(plan.compute == "f32" && plan.kv == "f32")) {
    fail(ErrorCode::usage, "a receipt is of the engine's own precision ({}, cache {}), expected no --precision fp32",
         plan.compute, plan.kv);
  }
  require_not_weaker(engine, flags_of(options, measured_text(engine, options)));
}

bool store_receipt(const std::filesystem::path& path, Receipt& receipt) {
  {
    const auto engine = EngineFile::open(path);  // unmapped again before the file is written to
    if (engine->receipt()) receipt.sources = engine->receipt()->sources;
    if (!receipt.pass) return false;
    require_not_weaker(*engine, receipt.flags.value_or(VerifyFlags{}));
  }
  plan::write_receipt(path, receipt);
  return true;
}

}  // namespace lathe::verify
