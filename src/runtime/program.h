// A plan bound to memory: arena, scratch, constants and cache resolved to addresses, ready to run steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/kernel.h"
#include "plan/engine_file.h"
#include "runtime/kv_cache.h"

namespace lathe::runtime {

// Arrays the session fills before a step; sized for the capacity.
struct StepInputs {
  std::vector<int64_t> token_ids;       // [tokens]
  std::vector<int64_t> positions;       // [tokens]
  std::vector<int32_t> first_token;     // [sequences + 1]
  std::vector<int32_t> first_position;  // [sequences]
  std::vector<int32_t> block_table;     // [sequences, blocks_per_sequence]
  std::vector<int64_t> output_rows;     // [outputs]
};

// Called after instruction `index` has run, on the calling thread.
using AfterInstruction = std::function<void(size_t index)>;

class Program {
 public:
  // `engine` and `cache` must outlive it. Throws as backend::check_plan where the plan does not fit its kernels.
  Program(const plan::EngineFile& engine, const KvCache& cache, const backend::Settings& settings,
          const backend::Capacity& capacity);

  // Bytes of arena and scratch a program would take. Throws as the constructor.
  static size_t bytes_needed(const plan::Plan& plan, const backend::Settings& settings,
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
  // The first element of a buffer; f32 buffers only.
  const float* values(int64_t buffer) const;
  // For a tensor that instruction `index` left NaN or infinite: which of its weights holds such a number, as the
  // end of a message, `; its weight "x" holds nan at [3, 7]`. Empty when all are finite. Reads them all.
  std::string bad_weight(size_t index) const;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

 private:
  std::byte* address(const plan::Operand& operand);
  void throw_failure();
  std::byte* input_address(const plan::Buffer& buffer);
  void drop_weights(const plan::Instruction& instruction) const;

  const plan::EngineFile& engine_;
  const KvCache& cache_;
  backend::Capacity capacity_;
  StepInputs inputs_;
  std::shared_ptr<std::byte> arena_;  // shared: how a device frees it is its own business
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
