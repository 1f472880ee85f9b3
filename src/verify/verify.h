// The verification contract (design.md section 5): is this engine the same model, and if not, where does it differ?
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "backend/accelerator.h"
#include "base/log.h"
#include "plan/engine_file.h"

namespace lathe::verify {

struct VerifyOptions {
  bool full = false;  // real sizes instead of reduced ones
  bool fp32 = false;  // run without rounding; gates that compare with fp32 are left out
  int threads = 0;    // 0: as many as the process may use
  std::string isa;    // empty: the best here
  // Its beginning is what KL divergence and perplexity are measured on; empty: a passage of a novel. Models
  // without a tokenizer get a fixed pseudo-random sequence of tokens instead, and no perplexity.
  std::string text;
  std::string text_name;  // what the receipt calls it
  // Of compare_engines: gate 3b. A holds the weights of B quantised, its distributions may be so far from B's (mean KL
  // divergence in nats) and are not held to the band of its precision.
  std::optional<double> max_kl;
  // Of engines for a device with memory of its own: that device, opened. They are held to the same plan on the CPU
  // (gate 7), of which an engine is built in this folder for the time being; empty: beside the engine.
  std::shared_ptr<backend::Accelerator> accelerator;
  std::filesystem::path scratch_folder;
  ProgressSink progress = null_progress();
};

// Gates 0 to 6 and 8 on an engine, against the reference executor on the engine's own graph and against itself
// in fp32. Never throws for a difference: the receipt says so. Throws for engines that do not open, usage for an
// ISA that is not known.
plan::Receipt verify_engine(const std::filesystem::path& engine, const VerifyOptions& options);

// Two engines: contract and tokenizer, then logits on the same tokens (KL, top-1), in each engine's own precision;
// the wider band of the two decides. A tensor beyond the bound of that band is the first difference: looked for
// always where both run in fp32, otherwise only when the logits are too far apart. Throws as verify_engine.
plan::Receipt compare_engines(const std::filesystem::path& a, const std::filesystem::path& b,
                              const VerifyOptions& options);

// Whether a receipt of verify_engine with these options may stand in the engine. Throws usage where it would speak
// of other runs than the engine's own (those without rounding, of an engine that rounds) and where the engine has
// a stronger one: of real sizes, or of more tokens of text. One that does not say how it was made may be either, so
// only real sizes replace it.
void check_storable(const plan::EngineFile& engine, const VerifyOptions& options);
// Writes it there. The hashes of the files an engine was built from are known to its builder alone, so they are
// taken over from the receipt it has, into `receipt` too. A receipt that does not pass is not written (false): one
// that passed, on the machine that built the engine perhaps, is not lost to a damaged copy. Throws usage where the
// engine has a stronger one, as check_storable.
bool store_receipt(const std::filesystem::path& engine, plan::Receipt& receipt);

// Throws verification with the first failing gate and the first difference.
[[noreturn]] void fail_receipt(const plan::Receipt& receipt);

// A table for people.
std::string describe(const plan::Receipt& receipt);

}  // namespace lathe::verify
