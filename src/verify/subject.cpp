#include "verify/subject.h"

#include <algorithm>

#include "backend/device.h"
#include "base/error.h"
#include "base/hash.h"
#include "verify/compare.h"
#include "verify/default_text.h"
#include "verify/test_tokens.h"

namespace lathe::verify {

using plan::EngineFile;
using runtime::Session;
using runtime::SessionOptions;

namespace {

// Engines larger than this are verified without keeping their pages resident.
constexpr int64_t kResidentWeights = int64_t{256} << 20;

}  // namespace

Subject::Subject(const std::filesystem::path& path, const VerifyOptions& options)
    : engine_(EngineFile::open(path)), threads_(options.threads), isa_(options.isa), accelerator_(options.accelerator) {
  const plan::Plan& plan = engine_->manifest().plan;
  backend::get_device(plan.device).choose_isa(isa_);  // throws here and not within a gate
  compute_ = options.fp32 ? "f32" : plan.compute;
  kv_ = options.fp32 ? "f32" : plan.kv;
  exact_ = compute_ == "f32" && kv_ == "f32";
}

std::unique_ptr<Session> Subject::make(const std::string& compute, const std::string& kv, bool deterministic) const {
  SessionOptions options;
  options.threads = threads_;
  options.isa = isa_;
  options.compute = compute;
  options.kv = kv;
  options.deterministic = deterministic;
  const bool host = backend::get_device(engine_->manifest().plan.device).host_memory();
  if (!host) options.accelerator = accelerator_;
  options.max_outputs = kReducedTokens;  // the longest trace
  // Blocks are not shared: the sequences that run beside the one under test need their own.
  const plan::Manifest& manifest = engine_->manifest();
  options.cache_tokens = std::min(manifest.contract.context_length, kCachePositions) +
                         6 * backend::get_device(manifest.plan.device).kv_block;
  options.drop_weights = manifest.weight_bytes > kResidentWeights;
  return std::make_unique<Session>(engine_, options);
}

Session& Subject::own() {
  if (!own_) own_ = make(compute_, kv_, false);
  return *own_;
}

Session& Subject::fp32() {
  if (exact_) return own();
  if (!fp32_) fp32_ = make("f32", "f32", false);
  return *fp32_;
}

std::unique_ptr<Session> Subject::make_deterministic() const {
  return make(compute_, kv_, true);
}

int64_t comparable_length(const EngineFile& engine) {
  int64_t length = engine.manifest().contract.context_length;
  for (const plan::Instruction& instruction : engine.manifest().plan.instructions) {
    if (instruction.op != "lathe.RotaryTable" || !instruction.attributes.has("dynamic_factor")) continue;
    length = std::min(length, int64_t(instruction.attributes.get_float("trained_length", 1)));
  }
  return length;
}

bool Subject::small() const {
  return engine_->manifest().weight_bytes <= kResidentWeights;
}

TestText test_text(const EngineFile& engine, const VerifyOptions& options, int64_t count) {
  TestText text;
  text.tokens = text_tokens(engine, options.text.empty() ? std::string(kDefaultText) : options.text, count);
  text.of_text = int64_t(text.tokens.size());
  const auto more = random_tokens(engine, count - text.of_text, 1);
  text.tokens.insert(text.tokens.end(), more.begin(), more.end());
  return text;
}

TestText measured_text(const EngineFile& engine, const VerifyOptions& options) {
  // A position is left for the token that follows.
  const int64_t count = std::min(options.full ? kFullTokens : kReducedTokens, comparable_length(engine) - 1);
  return test_text(engine, options, std::max<int64_t>(count, 1));
}

plan::VerifyFlags flags_of(const VerifyOptions& options, const TestText& text) {
  plan::VerifyFlags flags;
  flags.full = options.full;
  flags.precision = options.fp32 ? "fp32" : "";
  flags.isa = options.isa;
  flags.threads = options.threads;
  flags.text_tokens = text.of_text;
  flags.tokens = int64_t(text.tokens.size());
  if (text.of_text == 0) return flags;
  const std::string_view whole = options.text.empty() ? kDefaultText : std::string_view(options.text);
  flags.text = options.text.empty() ? std::string(kDefaultTextName) : options.text_name;
  flags.text_sha256 = sha256_hex(std::as_bytes(std::span(whole)));
  return flags;
}

std::string perplexity_note(const LogitRows& rows, const TestText& text) {
  const auto count = size_t(std::min(text.of_text, int64_t(rows.size())));
  if (count < 2) return "";
  return fmt::format("perplexity {:.6g}",
                     perplexity(std::span(rows).first(count), std::span(text.tokens).first(count)));
}

}  // namespace lathe::verify
