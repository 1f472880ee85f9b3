#include "runtime/graph_session.h"

#include <algorithm>
#include <chrono>
#include <list>

#include "backend/device.h"
#include "base/error.h"
#include "op/bindings.h"
#include "runtime/stage_binder.h"

namespace lathe::runtime {
namespace {

using plan::Operand;
using plan::OperandKind;
using tensor::Tensor;

constexpr size_t kMaxStages = 8;  // kept for one place in the graph

// For each value the last instruction that reads it, or their number where the caller does.
std::vector<size_t> last_uses(const plan::GraphPlan& plan) {
  std::vector<size_t> last(plan.values.size(), 0);
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    for (const Operand& input : plan.instructions[i].inputs) {
      if (input.kind == OperandKind::buffer) last[size_t(input.index)] = i;
    }
  }
  for (const plan::GraphOutput& output : plan.outputs) {
    if (output.operand.kind == OperandKind::buffer) last[size_t(output.operand.index)] = plan.instructions.size();
  }
  return last;
}

bool is_number(tensor::DType dtype) {
  return dtype != tensor::DType::undefined && dtype != tensor::DType::string;
}

}  // namespace

struct GraphSession::Impl {
  std::shared_ptr<const plan::GraphModel> model;
  GraphOptions options;
  std::unique_ptr<Team> team;
  BindingContext context;
  std::map<std::string, const op::TypeInfo*, std::less<>> declared;
  std::vector<ValueState> states;
  Tap tap;

  struct Kept {
    std::string key;
    Stage stage;
  };
  std::map<size_t, std::list<Kept>> stages;  // by first instruction, the latest used first

  Impl(std::shared_ptr<const plan::GraphModel> m, const GraphOptions& o)
      : model(std::move(m)), options(o), context{*model, backend::get_device(model->plan.device)} {
    const plan::GraphPlan& plan = model->plan;
    context.isa = context.device.choose_isa(options.isa);
    team = context.device.make_team(options.threads);
    context.threads = team->size();
    context.last_use = last_uses(plan);
    for (const int64_t input : plan.inputs) {
      declared.emplace(plan.values[size_t(input)].name, &plan.values[size_t(input)].type);
    }
  }

  void take_inputs(const Data& inputs) {
    const plan::GraphPlan& plan = model->plan;
    op::bind_inputs("the model", declared, inputs);
    states.assign(plan.values.size(), {});
    for (const int64_t input : plan.inputs) {
      const plan::GraphValue& value = plan.values[size_t(input)];
      const auto it = inputs.find(value.name);
      if (it == inputs.end() && !op::is_optional(value.type)) {
        fail(ErrorCode::invalid_input, "input \"{}\" is missing: {} expected", value.name, op::to_string(value.type));
      }
      ValueState& state = states[size_t(input)];
      state.set = true;
      if (it != inputs.end()) state.datum = it->second;
    }
  }

  // What a stage that begins at `begin` is bound to.
  std::string key_of(size_t begin) const {
    std::string key;
    for (size_t i = 0; i < states.size(); ++i) {
      const ValueState& state = states[i];
      if (!state.set || context.last_use[i] < begin || (!state.address && !state.datum.is_tensor())) continue;
      const Tensor tensor = state.tensor();
      fmt::format_to(std::back_inserter(key), "{}:{}{}", i, int(tensor.dtype()), tensor::to_string(std::span(tensor.dims())));
      if (state.address) fmt::format_to(std::back_inserter(key), "@");
      if (state.fixed) key.append(reinterpret_cast<const char*>(tensor.bytes().data()), tensor.bytes().size());
    }
    return key;
  }

  Stage& stage_at(size_t begin) {
    std::string key = key_of(begin);
    auto& kept = stages[begin];
    const auto it = std::find_if(kept.begin(), kept.end(), [&](const Kept& k) { return k.key == key; });
    if (it != kept.end()) {
      kept.splice(kept.begin(), kept, it);
      return kept.front().stage;
    }
    if (kept.size() >= kMaxStages) kept.pop_back();
    kept.push_front({std::move(key), bind_stage(context, states, begin)});
    return kept.front().stage;
  }

  op::Datum datum_of(const Operand& operand) const {
    if (operand.kind == OperandKind::absent) return {};
    if (operand.kind == OperandKind::constant) return model->constants[size_t(operand.index)];
    return states[size_t(operand.index)].as_datum();
  }

  // An instruction whose results only the run can measure.
  void run_dynamic(const plan::Instruction& instruction) {
    std::vector<op::Datum> inputs;
    for (const Operand& input : instruction.inputs) inputs.push_back(datum_of(input));
    auto results = with_context(fmt::format("{} \"{}\"", instruction.op, instruction.name), [&] {
      return op::evaluate_data(op::get_op(instruction.op), std::move(inputs), instruction.attributes,
                               instruction.outputs.size(), options.limits);
    });
    for (size_t i = 0; i < results.size(); ++i) {
      if (instruction.outputs[i].kind != OperandKind::buffer) continue;
      ValueState& state = states[size_t(instruction.outputs[i].index)];
      state.datum = std::move(results[i]);
      state.set = true;
      state.fixed = state.datum.is_tensor() && is_number(state.datum.tensor().dtype()) &&
                    state.datum.tensor().size() <= kMaxKnown;
      if (tap && state.datum.is_tensor()) {
        tap(model->plan.values[size_t(instruction.outputs[i].index)].name, state.datum.tensor());
      }
    }
  }

  Data run(const Data& inputs, const Stage::After& after, const std::function<void(const plan::Instruction&)>& dynamic) {
    const plan::GraphPlan& plan = model->plan;
    take_inputs(inputs);
    for (size_t at = 0; at < plan.instructions.size(); ++at) {
      Stage& stage = stage_at(at);
      stage.run(states, *team, after);
      at = stage.end;
      if (at >= plan.instructions.size()) break;
      run_dynamic(plan.instructions[at]);
      if (dynamic) dynamic(plan.instructions[at]);
    }
    Data outputs;
    for (const plan::GraphOutput& output : plan.outputs) outputs.emplace(output.name, datum_of(output.operand));
    return outputs;
  }

  void show(const StageStep& step) const {
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      if (step.outputs[i] >= 0) tap(model->plan.values[size_t(step.outputs[i])].name, output_tensor(step, i));
    }
  }
};

GraphSession::GraphSession(std::shared_ptr<const plan::GraphModel> model, const GraphOptions& options)
    : impl_(std::make_unique<Impl>(std::move(model), options)) {}
GraphSession::~GraphSession() = default;

GraphSession::Data GraphSession::run(const Data& inputs) {
  if (!impl_->tap) return impl_->run(inputs, {}, {});
  return impl_->run(inputs, [this](const StageStep& step) { impl_->show(step); }, {});
}

void GraphSession::set_tap(Tap tap) {
  impl_->tap = std::move(tap);
}

std::vector<InstructionTime> GraphSession::profile(const Data& inputs) {
  using Clock = std::chrono::steady_clock;
  std::vector<InstructionTime> times;
  Clock::time_point last = Clock::now();
  const auto lap = [&] {
    const Clock::time_point now = Clock::now();
    const double ms = std::chrono::duration<double, std::milli>(now - last).count();
    last = now;
    return ms;
  };
  impl_->run(
      inputs,
      [&](const StageStep& step) {
        const double ms = lap();
        const plan::Instruction& instruction = *step.problem.instruction;
        times.push_back({instruction.op, instruction.name, std::string(step.kernel ? step.kernel->name : "reference"),
                         tensor::to_string(std::span(step.problem.outputs[0].dims)), ms});
        last = Clock::now();
      },
      [&](const plan::Instruction& instruction) {
        times.push_back({instruction.op, instruction.name, "reference", "?", lap()});
      });
  return times;
}

size_t GraphSession::arena_bytes() const {
  size_t bytes = 0;
  for (const auto& [begin, kept] : impl_->stages) {
    for (const auto& entry : kept) bytes += entry.stage.arena_bytes;
  }
  return bytes;
}

int GraphSession::threads() const {
  return impl_->team->size();
}

}  // namespace lathe::runtime
