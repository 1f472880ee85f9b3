#include "runtime/stage.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "runtime/reorder.h"

namespace lathe::runtime {
namespace {

using backend::Order;
using backend::ProblemValue;
using tensor::Tensor;

Tensor view_of(const ProblemValue& value, const std::byte* address) {
  if (!value.present()) return {};
  if (value.known) return *value.known;
  return Tensor::view(value.dtype, value.dims, {address, value.bytes()}, nullptr);
}

void evaluate(StageStep& step) {
  const plan::Instruction& instruction = *step.problem.instruction;
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < step.problem.inputs.size(); ++i) {
    inputs.push_back(view_of(step.problem.inputs[i], step.call.inputs[i]));
  }
  const auto results = op::evaluate(op::get_op(instruction.op), std::move(inputs), instruction.attributes,
                                    step.problem.outputs.size());
  for (size_t i = 0; i < results.size(); ++i) {
    const auto bytes = results[i].bytes();
    if (!step.call.outputs[i]) continue;
    LATHE_CHECK(bytes.size() == step.problem.outputs[i].bytes(), "{} \"{}\": output {} has {} bytes", instruction.op,
                instruction.name, i, bytes.size());
    std::copy(bytes.begin(), bytes.end(), step.call.outputs[i]);
  }
}

}  // namespace

Tensor ValueState::tensor() const {
  if (!address) return datum.tensor();
  return Tensor::view(dtype, dims, {address, tensor::byte_size(dtype, tensor::element_count(std::span(dims)))}, nullptr);
}

op::Datum ValueState::as_datum() const {
  return address ? op::Datum(tensor()) : datum;
}

Tensor output_tensor(const StageStep& step, size_t i) {
  const ProblemValue& value = step.problem.outputs[i];
  const std::byte* address = step.kernel && !step.kernel->run ? step.call.inputs[0] : step.call.outputs[i];
  const Tensor as_it_lies = Tensor::view(value.dtype, value.dims, {address, value.bytes()}, nullptr);
  if (value.order == Order::plain) return as_it_lies;
  Tensor result(value.dtype, value.dims);
  reorder(value, address, Order::plain, result.mutable_bytes().data(), 0, 1);
  return result;
}

void Stage::run_step(StageStep& step, TeamMember& member) noexcept {
  if (step.kernel) {
    if (step.kernel->run) step.kernel->run(step.call, member);
    member.barrier();
    // What a kernel did not want the reference computes, or says what is wrong.
    if (!step.refused.load(std::memory_order_relaxed)) return;
  }
  if (member.index() == 0) evaluate_step(step);
  member.barrier();
}

void Stage::evaluate_step(StageStep& step) noexcept {
  try {
    const plan::Instruction& instruction = *step.problem.instruction;
    with_context(fmt::format("{} \"{}\"", instruction.op, instruction.name), [&] { evaluate(step); });
  } catch (...) {
    failure_ = std::current_exception();
  }
}

void Stage::run(std::vector<ValueState>& states, Team& team, const After& after) {
  for (const Patch& patch : patches) {
    const ValueState& state = states[size_t(patch.value)];
    steps[patch.step]->call.inputs[patch.input] = state.address ? state.address : state.datum.tensor().bytes().data();
  }
  for (const auto& step : steps) step->refused = false;
  const auto check = [&] {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  };
  if (after) {
    for (const auto& step : steps) {
      team.run([&](TeamMember& member) { run_step(*step, member); });
      check();
      after(*step);
    }
  } else if (!steps.empty()) {
    team.run([&](TeamMember& member) {
      for (const auto& step : steps) {
        if (step->kernel && !step->kernel->run) continue;
        run_step(*step, member);
        if (failure_) return;
      }
    });
    check();
  }
  for (const Result& result : results) {
    ValueState& state = states[size_t(result.value)];
    if (result.same_as >= 0) {
      state = states[size_t(result.same_as)];
      if (!state.address) state.datum = op::Datum(state.datum.tensor().reshaped(result.dims));
      state.dims = result.dims;
      continue;
    }
    state = {.datum = {}, .address = result.address, .dtype = result.dtype, .dims = result.dims, .set = true};
    if (!result.address) state.datum = op::Datum(result.known);
  }
}

}  // namespace lathe::runtime
