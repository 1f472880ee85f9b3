// An engine under test: the sessions it runs in and the tokens it is fed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "plan/engine_file.h"
#include "runtime/session.h"
#include "verify/runs.h"
#include "verify/verify.h"

namespace lathe::verify {

// Tokens of text by size of the test; one step of `lathe run` is as long as the full size.
constexpr int64_t kReducedTokens = 64;
constexpr int64_t kFullTokens = 512;
// Positions the sessions hold: room for the longest test.
constexpr int64_t kCachePositions = 4 * kFullTokens;

// Lengths at which cached and uncached runs of an engine mean the same: with dynamic rotary scaling keys keep the
// angles of the step they came in, so beyond the trained length the two differ by design.
int64_t comparable_length(const plan::EngineFile& engine);

class Subject {
 public:
  // Throws usage for an ISA that is not known, otherwise as EngineFile::open.
  Subject(const std::filesystem::path& path, const VerifyOptions& options);

  const plan::EngineFile& engine() const { return *engine_; }
  const std::shared_ptr<const plan::EngineFile>& shared_engine() const { return engine_; }

  // Rounding of activations in the runs under test, as plans name it.
  const std::string& compute() const { return compute_; }
  // The runs under test round nothing, in products or in the cache.
  bool exact() const { return exact_; }

  // Sessions are made when they are first asked for.
  runtime::Session& own();   // in the precision under test
  runtime::Session& fp32();  // without rounding; own() where that is exact
  std::unique_ptr<runtime::Session> make_deterministic() const;

  int64_t comparable_length() const { return verify::comparable_length(engine()); }
  // Small enough that prefills of kFullTokens take seconds: they are then part of the reduced tests too.
  bool small() const;

 private:
  std::unique_ptr<runtime::Session> make(const std::string& compute, const std::string& kv, bool deterministic) const;

  std::shared_ptr<const plan::EngineFile> engine_;
  int threads_;
  std::string isa_;
  std::shared_ptr<backend::Accelerator> accelerator_;  // shared: sessions of several subjects may use it
  std::string compute_;
  std::string kv_;
  bool exact_;
  std::unique_ptr<runtime::Session> own_;
  std::unique_ptr<runtime::Session> fp32_;
};

// The text to measure on, at most `count` tokens of it; filled up with pseudo-random tokens.
struct TestText {
  std::vector<int32_t> tokens;
  int64_t of_text = 0;  // how many of them, from the first, are text
};
TestText test_text(const plan::EngineFile& engine, const VerifyOptions& options, int64_t count);
// As much of it as verify_engine compares logits on.
TestText measured_text(const plan::EngineFile& engine, const VerifyOptions& options);

// What a receipt says of the options that it was made with.
plan::VerifyFlags flags_of(const VerifyOptions& options, const TestText& text);

// "perplexity 12.3", or nothing where there is no text to measure it on. `rows`: logits after each token.
std::string perplexity_note(const LogitRows& rows, const TestText& text);

}  // namespace lathe::verify
