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
  return Tensor::view(dtype, dims, {address, tensor::byte_size(dtype, tensor::element_count(std::span(dims)))},
                      nullptr);
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

void set_output(const StageStep& step, size_t i, const Tensor& elements) {
  const ProblemValue& value = step.problem.outputs[i];
  const bool view = step.kernel && !step.kernel->run;
  if (view || elements.dtype() != value.dtype || elements.dims() != value.dims) return;
  ProblemValue row_major = value;
  row_major.order = Order::plain;
  reorder(row_major, elements.bytes().data(), value.order, step.call.outputs[i], 0, 1);
}

bool Stage::run_step(size_t at, TeamMember& member) noexcept {
  StageStep& step = *steps[at];
  if (step.kernel) {
    if (step.kernel->run) step.kernel->run(step.call, member);
    member.barrier();
    // What a kernel did not want the reference computes, or says what is wrong.
    if (!step.refused.load(std::memory_order_relaxed)) return true;
  }
  if (member.index() == 0) evaluate_step(at);
  member.barrier();
  // Not whether something has failed by now: who comes late from this barrier must go on to the next one with those who
  // wait there, even if a later step has failed in the meantime.
  return failed_.load(std::memory_order_relaxed) != at;
}

void Stage::evaluate_step(size_t at) noexcept {
  StageStep& step = *steps[at];
  try {
    const plan::Instruction& instruction = *step.problem.instruction;
    with_context(fmt::format("{} \"{}\"", instruction.op, instruction.name), [&] { evaluate(step); });
  } catch (...) {
    failure_ = std::current_exception();
    failed_.store(at, std::memory_order_relaxed);
  }
}

void Stage::run(std::vector<ValueState>& states, Team& team, const After& after) {
  for (const Patch& patch : patches) {
    const ValueState& state = states[size_t(patch.value)];
    steps[patch.step]->call.inputs[patch.input] = state.address ? state.address : state.datum.tensor().bytes().data();
  }
  for (const auto& step : steps) step->refused = false;
  failed_ = kNoStep;
  const auto check = [&] {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  };
  if (after) {
    for (size_t at = 0; at < steps.size(); ++at) {
      team.run([&](TeamMember& member) { run_step(at, member); });
      check();
      after(*steps[at]);
    }
  } else if (!steps.empty()) {
    team.run([&](TeamMember& member) {
      for (size_t at = 0; at < steps.size(); ++at) {
        const StageStep& step = *steps[at];
        if (step.kernel && !step.kernel->run) continue;
        if (!run_step(at, member)) return;
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
