// A plan bound to memory: arena, scratch, constants and cache resolved to addresses, ready to run steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/accelerator.h"
#include "backend/kernel.h"
#include "plan/engine_file.h"
#include "runtime/kv_cache.h"
#include "runtime/staging.h"
#include "runtime/step_inputs.h"

namespace lathe::runtime {

// Called after instruction `index` has run, on the calling thread.
using AfterInstruction = std::function<void(size_t index)>;

class Program {
 public:
  // `engine`, `cache` and `accelerator` must outlive it; the last is that of a device with memory of its own, null for
  // others. Throws as backend::check_plan where the plan does not fit its kernels, resource where memory is short.
  Program(const plan::EngineFile& engine, const KvCache& cache, const backend::Settings& settings,
          const backend::Capacity& capacity, backend::Accelerator* accelerator = nullptr);

  // Bytes of arena and scratch a program would take. Throws as the constructor.
  static size_t bytes_needed(const plan::Plan& plan, const backend::Settings& settings,
                             const backend::Capacity& capacity);
  // The scratch among them.
  static size_t scratch_needed(const plan::Plan& plan, const backend::Settings& settings,
                               const backend::Capacity& capacity);

  StepInputs& inputs() { return inputs_; }
  // Lets the pages of an instruction's weights go when it has run.
  void set_drop_weights(bool drop) { drop_weights_ = drop; }
  // Runs all instructions on the team; with `after`, one instruction at a time. Throws what a kernel failed with
  // (the first, if several did).
  void run(const backend::Step& step, Team& team, const AfterInstruction& after = {});
  // Looks at every tensor after the instruction that writes it: throws verification naming the first that is not
  // finite, and the weight that made it so.
  void run_checked(const backend::Step& step, Team& team);
  // The first element of a buffer after a step; f32 buffers only. On a device with memory of its own the host gets a
  // copy, valid until the next call.
  const float* values(int64_t buffer, const backend::Step& step);
  // The same of the logits, which every step copies out; valid until the next step.
  const float* logits(const backend::Step& step);
  // For a tensor that instruction `index` left NaN or infinite: which of its weights holds such a number, as the
  // end of a message, `; its weight "x" holds nan at [3, 7]`. Empty when all are finite. Reads them all.
  std::string bad_weight(size_t index) const;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

 private:
  std::byte* address(const plan::Operand& operand) const;
  void run_instructions(const backend::Step& step, Team& team, const AfterInstruction& after);
  void throw_failure();
  std::byte* input_address(const plan::Buffer& buffer) const;
  void drop_weights(const plan::Instruction& instruction) const;

  const plan::EngineFile& engine_;
  const KvCache& cache_;
  backend::Capacity capacity_;
  StepInputs inputs_;
  std::unique_ptr<Staging> staging_;    // null where kernels work in the host's memory
  std::shared_ptr<std::byte> weights_;  // of a device with memory of its own
  std::shared_ptr<std::byte> arena_;    // shared: how a device frees it is its own business
  std::byte* scratch_ = nullptr;
  struct Entry {
    backend::Bound bound;
    const backend::Kernel* kernel;
  };
  std::vector<Entry> entries_;
  std::exception_ptr failure_;  // of the step; kernels hold its address
  bool drop_weights_ = false;
};

}  // namespace lathe::runtime
