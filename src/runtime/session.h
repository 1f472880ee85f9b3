// A running model: an engine, its key-value cache, and steps over any mix of sequences.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/accelerator.h"
#include "base/log.h"
#include "base/team.h"
#include "plan/engine_file.h"

namespace lathe::runtime {

struct SessionOptions {
  int threads = 0;                // 0: as many as the process may use
  int64_t cache_tokens = 0;       // positions the cache holds over all sequences; 0: the model's context length
  int64_t max_step_tokens = 512;  // tokens of one step; longer ones are cut into several
  int64_t max_sequences = 16;     // in one step
  // Rows of logits of one step; items with Logits::all are cut into steps of so many tokens. At least
  // max_sequences are booked.
  int64_t max_outputs = 32;
  std::string isa;      // of the engine's device; empty: the best of this machine
  std::string compute;  // "f32" forbids all rounding of activations; empty: as planned
  std::string kv;       // overrides the plan's cache type
  // The same bits whatever else is in the step: sequences are cut into steps at fixed positions, 64 at a time,
  // which makes prefill slower.
  bool deterministic = false;
  // Lets the pages of weights go after each instruction, so that resident memory stays below the model's size;
  // slower. For verification of engines that do not fit in memory.
  bool drop_weights = false;
  // Of engines for a device with memory of its own: that device, opened. Sessions of an engine share its weights there.
  std::shared_ptr<backend::Accelerator> accelerator;
  LogSink log = null_log();  // what memory such a session is about to take
};

using SequenceId = int32_t;

// Which rows of logits a step gives for an item.
enum class Logits { none, last, all };

struct StepItem {
  SequenceId sequence;
  std::span<const int32_t> tokens;  // appended to the sequence; at least one
  Logits logits = Logits::last;
};

// Called with the tensor after the instruction that writes it: f32 [rows, columns] of the current step. For
// verification; slows the step down.
using Tap =
    std::function<void(const plan::Instruction&, const plan::Buffer&, std::span<const float> values, int64_t rows)>;

// Not thread safe: one step at a time. Weights are shared between sessions through the engine.
class Session {
 public:
  // Throws resource with the numbers when cache and arena do not fit in available memory, unsupported for a
  // device this program does not know and an ISA this machine lacks, usage for an ISA that is none and for a device
  // that was not opened.
  Session(std::shared_ptr<const plan::EngineFile> engine, const SessionOptions& options = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const plan::EngineFile& engine() const;
  const contract::Contract& contract() const { return engine().manifest().contract; }
  int64_t context_length() const;  // positions a sequence may have: the model's, or fewer if the cache is smaller
  int64_t vocab_size() const;
  int threads() const;
  std::string isa() const;

  SequenceId create();
  void release(SequenceId sequence);
  // Forgets positions from `length` on. Throws usage beyond the present length.
  void truncate(SequenceId sequence, int64_t length);
  int64_t length(SequenceId sequence) const;

  // Runs the tokens of all items, in as many packed steps as they need. `on_logits(item, position, row)` is
  // called with the index of the item, the position within its tokens, and f32 [vocabulary], valid during the
  // call. Throws usage for a token id outside the vocabulary and a sequence that is unknown or appears twice,
  // invalid_input for a sequence beyond its context (naming both numbers), resource when the cache is full,
  // verification when a logit is NaN or infinite (naming the first bad tensor), and what `on_logits` throws.
  // After a throw the sequences have the lengths they had before, and may go on.
  using OnLogits = std::function<void(size_t item, int64_t position, std::span<const float> logits)>;
  void step(std::span<const StepItem> items, const OnLogits& on_logits);
  // The same for one sequence, giving the last token's logits; the span is valid until the next step.
  std::span<const float> step(SequenceId sequence, std::span<const int32_t> tokens);

  void set_tap(Tap tap);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lathe::runtime
