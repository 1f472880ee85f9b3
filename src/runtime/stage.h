// A run of instructions bound to lengths and addresses, up to one whose results only the run can measure.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/graph_kernel.h"
#include "base/team.h"
#include "op/datum.h"

namespace lathe::runtime {

// What is known of a value between stages.
struct ValueState {
  op::Datum datum;                     // inputs, and what dynamic instructions gave
  const std::byte* address = nullptr;  // or where a stage left it, row-major
  tensor::DType dtype = tensor::DType::undefined;
  tensor::Dims dims;
  bool set = false;
  bool fixed = false;  // small: its elements are part of what stages are bound to

  // Also for what a stage left. Throws invalid_input for a sequence.
  tensor::Tensor tensor() const;
  op::Datum as_datum() const;
};

// One call of a kernel, or of an operator's own evaluate where `kernel` is null.
struct StageStep {
  const backend::GraphKernel* kernel = nullptr;
  backend::Problem problem;
  backend::GraphCall call;
  std::shared_ptr<const void> prepared;
  std::atomic<bool> refused = false;
  std::vector<int64_t> outputs;  // values, -1 for what is no value of the graph (a reorder)
  std::vector<std::string> refusals;  // without a kernel: why none takes it
};

struct Stage {
  size_t end = 0;  // the instruction that stopped it, or the number of them
  std::vector<std::unique_ptr<StageStep>> steps;
  // Input `input` of step `step` lies where the value's state says.
  struct Patch {
    size_t step, input;
    int64_t value;
  };
  std::vector<Patch> patches;
  // What later stages and the caller may ask for.
  struct Result {
    int64_t value;
    tensor::DType dtype;
    tensor::Dims dims;
    const std::byte* address;  // null: `known`, or the state of value `same_as`
    tensor::Tensor known;
    int64_t same_as = -1;
  };
  std::vector<Result> results;
  std::vector<std::shared_ptr<const tensor::Tensor>> known;  // tensors that problems and addresses refer to
  std::shared_ptr<std::byte> arena;
  size_t arena_bytes = 0;
  bool alone = false;  // too little to do for a second thread
  size_t scratch_bytes = 0;  // of these: what kernels work in
  size_t live_bytes = 0;     // most that lives at one time, in step live_step
  size_t live_step = 0;
  double multiplications = 0;

  // Runs it; with `after`, one step at a time. Throws what a step failed with.
  using After = std::function<void(const StageStep& step)>;
  void run(std::vector<ValueState>& states, Team& team, const After& after = {});

 private:
  static constexpr size_t kNoStep = size_t(-1);

  // Atomic and movable: a stage is moved before it runs, not meanwhile.
  struct StepNumber : std::atomic<size_t> {
    StepNumber() : std::atomic<size_t>(kNoStep) {}
    StepNumber(StepNumber&& other) noexcept : std::atomic<size_t>(other.load()) {}
    using std::atomic<size_t>::operator=;
  };

  std::exception_ptr failure_;
  StepNumber failed_;  // the step that it is of
  // Ends with a barrier. False for all members alike if the step has failed.
  bool run_step(size_t at, TeamMember& member) noexcept;
  void evaluate_step(size_t at) noexcept;
};

// The tensor of output `i` of a step that has run, row-major whatever its order.
tensor::Tensor output_tensor(const StageStep& step, size_t i);
// Puts other elements in its place, where `elements` has its type and lengths and it is no view.
void set_output(const StageStep& step, size_t i, const tensor::Tensor& elements);

}  // namespace lathe::runtime
