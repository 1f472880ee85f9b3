#include "verify/subject.h"

#include <algorithm>

#include "backend/cpu/attention.h"
#include "base/error.h"
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
    : engine_(EngineFile::open(path)), threads_(options.threads) {
  if (!options.isa.empty()) {
    isa_ = backend::cpu::find_isa(options.isa);
    if (!isa_) fail(ErrorCode::usage, "isa \"{}\" is not known (avx2, avx512, amx)", options.isa);
  }
  const plan::Plan& plan = engine_->manifest().plan;
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
  options.max_outputs = kReducedTokens;  // the longest trace
  // Blocks are not shared: the sequences that run beside the one under test need their own.
  options.cache_tokens =
      std::min(engine_->manifest().contract.context_length, kCachePositions) + 6 * backend::cpu::kKvBlock;
  options.drop_weights = engine_->manifest().weight_bytes > kResidentWeights;
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

int64_t Subject::comparable_length() const {
  int64_t length = engine_->manifest().contract.context_length;
  for (const plan::Instruction& instruction : engine_->manifest().plan.instructions) {
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

std::string perplexity_note(const LogitRows& rows, const TestText& text) {
  const auto count = size_t(std::min(text.of_text, int64_t(rows.size())));
  if (count < 2) return "";
  return fmt::format("perplexity {:.6g}",
                     perplexity(std::span(rows).first(count), std::span(text.tokens).first(count)));
}

}  // namespace lathe::verify
