// The verification contract (design.md section 5): is this engine the same model, and if not, where does it differ?
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "plan/engine_file.h"
#include "plan/receipt.h"
#include "runtime/session.h"

namespace lathe::verify {

struct VerifyOptions {
  bool full = false;    // real sizes instead of reduced ones
  int threads = 0;
  std::string isa;      // empty: the best here
  std::string precision;  // "fp32": leave gate 3 out and run without rounding
  // Text for perplexity and KL; token ids are drawn from a fixed pseudo-random sequence where it is empty or the
  // model has no tokenizer.
  std::string text;
  LogSink log = null_log();
  ProgressSink progress = null_progress();
};

// Gates 0 to 6 and 8 on an engine, against the reference executor on the engine's own graph and against itself
// in fp32. Never throws for a difference: the receipt says so. Throws for engines that do not open.
plan::Receipt verify_engine(const std::filesystem::path& engine, const VerifyOptions& options);

// Two engines on the same tokens: logits (KL, top-1) and, where both have a tensor of one name, tensor by tensor
// to the first that differs. The precision of the wider band of the two decides the bounds.
plan::Receipt compare_engines(const std::filesystem::path& a, const std::filesystem::path& b,
                              const VerifyOptions& options);

// Throws verification with the first failing gate and the first difference.
[[noreturn]] void fail_receipt(const plan::Receipt& receipt);

// A table for people.
std::string describe(const plan::Receipt& receipt);

}  // namespace lathe::verify
