#include "runtime/graph_session.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <list>

#include "backend/device.h"
#include "backend/graph_load.h"
#include "base/error.h"
#include "op/bindings.h"
#include "op/values.h"
#include "plan/graph_body.h"
#include "runtime/shape_values.h"
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

// Results are views of the session's memory: whoever keeps them copies them.
op::Datum copy_of(const op::Datum& datum) {
  if (datum.is_tensor()) return op::clone(datum.tensor());
  if (!datum.is_sequence()) return datum;
  std::vector<Tensor> items;
  for (const Tensor& item : datum.items()) items.push_back(op::clone(item));
  return op::Datum::sequence(std::move(items));
}

}  // namespace

// A graph inside an instruction that runs in a session of its own.
class GraphSession::Body final : public op::Subgraph {
 public:
  Body(const plan::GraphBody& body, const GraphOptions& options, std::shared_ptr<Team> team)
      : plain_(body.plain()), model_(body.model()), session_(model_, options, std::move(team)) {}

  std::vector<op::TypeInfo> input_types() const override { return plain_->input_types(); }
  std::vector<op::TypeInfo> output_types() const override { return plain_->output_types(); }
  bool same_as(const op::Subgraph& other) const override { return plain_->same_as(other); }
  std::vector<op::Datum> evaluate(std::vector<op::Datum> inputs, const op::RunLimits&) const override {
    const plan::GraphPlan& plan = model_->plan;
    LATHE_CHECK(inputs.size() == plan.inputs.size(), "a body of {} inputs, not {}", plan.inputs.size(), inputs.size());
    Data named;
    for (size_t i = 0; i < inputs.size(); ++i) {
      named.emplace(plan.values[size_t(plan.inputs[i])].name, std::move(inputs[i]));
    }
    const Data results = session_.run(named);
    std::vector<op::Datum> outputs;
    for (const plan::GraphOutput& output : plan.outputs) outputs.push_back(copy_of(results.at(output.name)));
    return outputs;
  }

 private:
  op::SubgraphPtr plain_;
  std::shared_ptr<const plan::GraphModel> model_;
  mutable GraphSession session_;  // evaluating changes what it has bound, not what it computes
};

struct GraphSession::Impl {
  std::shared_ptr<const plan::GraphModel> model;
  GraphOptions options;
  std::shared_ptr<Team> team;  // bodies share it: they run while it waits
  Team alone{1};               // for stages too small to share
  BindingContext context;
  std::map<std::string, const op::TypeInfo*, std::less<>> declared;
  std::vector<ValueState> states;
  Tap tap;
  Replace replace;

  // What a stage is bound to, as numbers: values with their types and lengths, and the bytes of those that are fixed.
  using Key = std::vector<int64_t>;
  struct Kept {
    Key key;
    Stage stage;
  };
  Key key;                                                    // of the stage that is looked for
  std::vector<std::pair<tensor::DType, tensor::Dims>> taken;  // of the tensors of the last call's inputs, which fitted
  std::vector<std::string> labels;                            // of instructions, for errors
  std::map<size_t, std::list<Kept>> stages;  // by first instruction, the latest used first

  std::map<size_t, op::Attributes> compiled;  // of instructions with bodies: these as sessions
  std::vector<bool> shapes;

  Impl(std::shared_ptr<const plan::GraphModel> m, const GraphOptions& o, std::shared_ptr<Team> shared)
      : model(std::move(m)), options(o), team(std::move(shared)),
        context{*model, backend::get_device(model->plan.device)} {
    const plan::GraphPlan& plan = model->plan;
    LATHE_CHECK(model->to_pack.empty(), "constants that are not packed yet");
    context.isa = context.device.choose_isa(options.isa);
    backend::require_isa(*model, context.isa);
    if (!team) team = context.device.make_team(options.threads);
    context.threads = team->size();
    context.alone_below = options.alone_below;
    shapes = shape_values(plan);
    for (size_t i = 0; i < plan.instructions.size(); ++i) compile_bodies(i);
    context.last_use = last_uses(plan);
    for (const plan::Instruction& i : plan.instructions) labels.push_back(fmt::format("{} \"{}\"", i.op, i.name));
    for (const int64_t input : plan.inputs) {
      declared.emplace(plan.values[size_t(input)].name, &plan.values[size_t(input)].type);
    }
  }

  void compile_bodies(size_t at) {
    const op::Attributes& attributes = model->plan.instructions[at].attributes;
    GraphOptions inside = options;
    inside.on_run = {};
    inside.profile.clear();  // its inputs may have the names of others
    for (const auto& [name, value] : attributes) {
      const auto* body = std::get_if<op::SubgraphPtr>(&value);
      const auto* graph = body ? dynamic_cast<const plan::GraphBody*>(body->get()) : nullptr;
      if (!graph) continue;
      compiled.try_emplace(at, attributes).first->second.set(name, std::make_shared<Body>(*graph, inside, team));
    }
  }

  // Whether they are all there, of the types and lengths of the last call, and nothing else is.
  bool fit_as_before(const Data& inputs) const {
    const plan::GraphPlan& plan = model->plan;
    if (taken.size() != plan.inputs.size() || inputs.size() != taken.size()) return false;
    for (size_t i = 0; i < taken.size(); ++i) {
      const auto it = inputs.find(plan.values[size_t(plan.inputs[i])].name);
      if (it == inputs.end() || !it->second.is_tensor()) return false;
      const Tensor& tensor = it->second.tensor();
      if (tensor.dtype() != taken[i].first || tensor.dims() != taken[i].second) return false;
    }
    return true;
  }

  void note_taken() {
    if (!taken.empty()) return;
    for (const int64_t input : model->plan.inputs) {
      const op::Datum& datum = states[size_t(input)].datum;
      if (!datum.is_tensor()) return taken.clear();
      taken.emplace_back(datum.tensor().dtype(), datum.tensor().dims());
    }
  }

  void take_inputs(const Data& inputs) {
    const plan::GraphPlan& plan = model->plan;
    if (!fit_as_before(inputs)) {
      taken.clear();
      op::bind_inputs("the model", declared, inputs);
    }
    states.assign(plan.values.size(), {});
    for (const int64_t input : plan.inputs) {
      const plan::GraphValue& value = plan.values[size_t(input)];
      const auto it = inputs.find(value.name);
      if (it == inputs.end() && !op::is_optional(value.type)) {
        fail(ErrorCode::invalid_input, "input \"{}\" is missing: {} expected", value.name, op::to_string(value.type));
      }
      ValueState& state = states[size_t(input)];
      state.set = true;
      if (it == inputs.end()) continue;
      state.datum = it->second;
      if (!options.profile.empty() && state.datum.is_tensor()) {
        plan::check_profile(options.profile, value.name, state.datum.tensor().dims());
      }
    }
    note_taken();
  }

  void make_key(size_t begin) {
    key.clear();
    for (size_t i = 0; i < states.size(); ++i) {
      const ValueState& state = states[i];
      if (!state.set || context.last_use[i] < begin || (!state.address && !state.datum.is_tensor())) continue;
      const tensor::DType dtype = state.address ? state.dtype : state.datum.tensor().dtype();
      const tensor::Dims& dims = state.address ? state.dims : state.datum.tensor().dims();
      key.insert(key.end(), {int64_t(i), int64_t(dtype) * 4 + (state.address ? 2 : 0) + (state.fixed ? 1 : 0),
                             int64_t(dims.size())});
      key.insert(key.end(), dims.begin(), dims.end());
      if (!state.fixed) continue;
      const Tensor tensor = state.tensor();  // its dtype and dims say how many bytes it has
      const size_t at = key.size();
      key.resize(at + (tensor.bytes().size() + sizeof(int64_t) - 1) / sizeof(int64_t), 0);
      if (!tensor.bytes().empty()) std::memcpy(&key[at], tensor.bytes().data(), tensor.bytes().size());
    }
  }

  Stage& stage_at(size_t begin) {
    make_key(begin);
    auto& kept = stages[begin];
    const auto it = std::find_if(kept.begin(), kept.end(), [&](const Kept& k) { return k.key == key; });
    if (it != kept.end()) {
      if (it != kept.begin()) kept.splice(kept.begin(), kept, it);
      return kept.front().stage;
    }
    if (kept.size() >= kMaxStages) kept.pop_back();
    kept.push_front({key, bind_stage(context, states, begin)});
    return kept.front().stage;
  }

  op::Datum datum_of(const Operand& operand) const {
    if (operand.kind == OperandKind::absent) return {};
    if (operand.kind == OperandKind::constant) return model->constants[size_t(operand.index)];
    return states[size_t(operand.index)].as_datum();
  }

  // An instruction whose results only the run can measure.
  void run_dynamic(size_t at) {
    const plan::Instruction& instruction = model->plan.instructions[at];
    const auto with_sessions = compiled.find(at);
    const op::Attributes& attributes = with_sessions == compiled.end() ? instruction.attributes : with_sessions->second;
    std::vector<op::Datum> inputs;
    for (const Operand& input : instruction.inputs) inputs.push_back(datum_of(input));
    auto results = with_context(labels[at], [&] {
      return op::evaluate_data(op::get_op(instruction.op), std::move(inputs), attributes, instruction.outputs.size(),
                               options.limits);
    });
    for (size_t i = 0; i < results.size(); ++i) {
      if (instruction.outputs[i].kind != OperandKind::buffer) continue;
      ValueState& state = states[size_t(instruction.outputs[i].index)];
      state.datum = std::move(results[i]);
      state.set = true;
      state.fixed = shapes[size_t(instruction.outputs[i].index)] && state.datum.is_tensor() &&
                    is_number(state.datum.tensor().dtype()) && state.datum.tensor().size() <= kMaxKnown;
      if (tap && state.datum.is_tensor()) {
        tap(model->plan.values[size_t(instruction.outputs[i].index)].name, state.datum.tensor());
      }
      if (!replace || !state.datum.is_tensor()) continue;
      const Tensor* other = replace(model->plan.values[size_t(instruction.outputs[i].index)].name);
      const Tensor& own = state.datum.tensor();
      if (other && other->dtype() == own.dtype() && other->dims() == own.dims()) state.datum = *other;
    }
  }

  Data run(const Data& inputs, const Stage::After& after,
           const std::function<void(const plan::Instruction&)>& dynamic) {
    const plan::GraphPlan& plan = model->plan;
    take_inputs(inputs);
    for (size_t at = 0; at < plan.instructions.size(); ++at) {
      Stage& stage = stage_at(at);
      stage.run(states, stage.alone ? alone : *team, after);
      at = stage.end;
      if (at >= plan.instructions.size()) break;
      run_dynamic(at);
      if (dynamic) dynamic(plan.instructions[at]);
    }
    Data outputs;
    for (const plan::GraphOutput& output : plan.outputs) outputs.emplace(output.name, datum_of(output.operand));
    return outputs;
  }

  std::vector<std::string> result_names(const plan::Instruction& instruction) const {
    std::vector<std::string> names;
    for (const Operand& output : instruction.outputs) {
      if (output.kind == OperandKind::buffer) names.push_back(model->plan.values[size_t(output.index)].name);
    }
    return names;
  }

  BoundGraph describe(const Stage& stage) const {
    const auto& instructions = model->plan.instructions;
    const auto text = [](const plan::Instruction& i) { return fmt::format("{} \"{}\"", i.op, i.name); };
    BoundGraph result;
    for (const auto& step : stage.steps) {
      const plan::Instruction& instruction = *step->problem.instruction;
      result.instructions.push_back({instruction.op, instruction.name,
                                     std::string(step->kernel ? step->kernel->name : "reference"),
                                     tensor::to_string(std::span(step->problem.outputs[0].dims)), step->refusals});
    }
    result.not_bound = instructions.size() - stage.end;
    if (result.not_bound > 0) result.stopped_at = text(instructions[stage.end]);
    result.arena_bytes = stage.arena_bytes;
    result.scratch_bytes = stage.scratch_bytes;
    result.live_bytes = stage.live_bytes;
    result.multiplications = stage.multiplications;
    if (!stage.steps.empty()) result.live_during = text(*stage.steps[stage.live_step]->problem.instruction);
    return result;
  }

  void show(const StageStep& step) const {
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      if (step.outputs[i] < 0) continue;
      const std::string& name = model->plan.values[size_t(step.outputs[i])].name;
      if (tap) tap(name, output_tensor(step, i));
      if (!replace) continue;
      if (const Tensor* other = replace(name)) set_output(step, i, *other);
    }
  }
};

GraphSession::GraphSession(std::shared_ptr<const plan::GraphModel> model, const GraphOptions& options)
    : GraphSession(std::move(model), options, nullptr) {}
GraphSession::GraphSession(std::shared_ptr<const plan::GraphModel> model, const GraphOptions& options,
                           std::shared_ptr<Team> team)
    : impl_(std::make_unique<Impl>(std::move(model), options, std::move(team))) {}
GraphSession::~GraphSession() = default;

GraphSession::Data GraphSession::run(const Data& inputs) {
  Stage::After show;
  if (impl_->tap || impl_->replace) show = [this](const StageStep& step) { impl_->show(step); };
  Data results = impl_->run(inputs, show, {});
  if (impl_->options.on_run) impl_->options.on_run(*impl_->model, inputs, results);
  return results;
}

void GraphSession::set_tap(Tap tap) {
  impl_->tap = std::move(tap);
}

void GraphSession::set_replacement(Replace replace) {
  impl_->replace = std::move(replace);
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
                         tensor::to_string(std::span(step.problem.outputs[0].dims)), ms,
                         impl_->result_names(instruction)});
        last = Clock::now();
      },
      [&](const plan::Instruction& instruction) {
        times.push_back({instruction.op, instruction.name, "reference", "?", lap(),
                         impl_->result_names(instruction)});
      });
  return times;
}

BoundGraph GraphSession::bound(const Data& inputs) {
  impl_->take_inputs(inputs);
  return impl_->describe(impl_->stage_at(0));
}

BoundGraph GraphSession::measured(const op::Bindings& symbols) {
  static const std::byte nowhere{};  // binding looks at no element of an input
  const plan::GraphPlan& plan = impl_->model->plan;
  std::vector<ValueState> states(plan.values.size());
  for (const int64_t input : plan.inputs) {
    const plan::GraphValue& value = plan.values[size_t(input)];
    ValueState& state = states[size_t(input)];
    state.set = true;
    if (op::is_optional(value.type)) continue;
    tensor::Shape shape = value.type.shape;
    for (tensor::Dim& dim : shape) dim = dim.bind(symbols);
    const auto dims = tensor::to_dims(shape);
    if (!dims) {
      fail(ErrorCode::usage, "input \"{}\" {}: a length of it is not given", value.name, op::to_string(value.type));
    }
    state.address = &nowhere;
    state.dtype = value.type.dtype;
    state.dims = *dims;
  }
  BindingContext context = impl_->context;
  context.measuring = true;
  return impl_->describe(bind_stage(context, states, 0));
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
