#include "runtime/stage_binder.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/checked.h"
#include "base/error.h"
#include "runtime/arena.h"
#include "runtime/reorder.h"
#include "runtime/work.h"

namespace lathe::runtime {
namespace {

using backend::GraphKernel;
using backend::Order;
using backend::Problem;
using backend::ProblemValue;
using plan::Instruction;
using plan::Operand;
using plan::OperandKind;
using tensor::DType;
using tensor::Tensor;

// Where the bytes of a bound value are.
struct Place {
  enum class Kind { none, buffer, state, constant } kind = Kind::none;
  size_t index = 0;  // of the buffer or the state
  const std::byte* address = nullptr;  // of a constant
};

struct BoundValue {
  ProblemValue type;
  Tensor known;  // defined: its elements
  Place place;
  std::optional<Place> reordered;  // the same in the other order
  bool present = false;
};

// Whether its elements depend on more than its inputs.
bool is_random(std::string_view op) {
  return op.starts_with("Random") || op == "Bernoulli" || op == "Multinomial";
}

bool has_bytes(DType dtype) {
  return dtype != DType::undefined && dtype != DType::string;
}

class Binder {
 public:
  Binder(const BindingContext& context, const std::vector<ValueState>& states, size_t begin)
      : context_(context), plan_(context.model.plan), values_(plan_.values.size()), at_(begin), begin_(begin) {
    for (size_t i = 0; i < states.size(); ++i) {
      if (states[i].set && context.last_use[i] >= begin) take_state(states[i], i);
    }
  }

  Stage run() {
    while (at_ < plan_.instructions.size()) {
      const Instruction& instruction = plan_.instructions[at_];
      if (!with_context(fmt::format("{} \"{}\"", instruction.op, instruction.name),
                        [&] { return bind(instruction); })) {
        break;
      }
      ++at_;
    }
    stage_.end = at_;
    stage_.alone = work_ < context_.alone_below;
    keep_results();
    reuse_places();
    resolve();
    return std::move(stage_);
  }

 private:
  void take_state(const ValueState& state, size_t index) {
    BoundValue& value = values_[index];
    if (!state.address && (!state.datum.is_tensor() || !has_bytes(state.datum.tensor().dtype()))) return;
    const Tensor tensor = state.tensor();
    value.type = {.dtype = tensor.dtype(), .dims = tensor.dims()};
    value.place = {Place::Kind::state, index};
    value.present = true;
    if (state.fixed) value.known = tensor;
  }

  // The operand with its type, or nullopt where no bytes stand for it (sequences, texts).
  std::optional<BoundValue> operand(const Operand& operand) {
    BoundValue value;
    if (operand.kind == OperandKind::absent) return value;
    if (operand.kind == OperandKind::buffer) {
      value = values_[size_t(operand.index)];
      return value.present ? std::optional(value) : std::nullopt;
    }
    const plan::Constant& constant = plan_.constants[size_t(operand.index)];
    const Tensor& tensor = context_.model.constants[size_t(operand.index)];
    if (!has_bytes(constant.dtype)) return std::nullopt;
    value.type = {.dtype = constant.dtype, .dims = constant.dims, .layout = constant.layout};
    value.place = {Place::Kind::constant, size_t(operand.index), tensor.bytes().data()};
    if (constant.layout == "plain") value.known = tensor;
    value.present = true;
    return value;
  }

  // False: only the run can tell what it gives.
  bool bind(const Instruction& instruction) {
    const op::OpDef& def = op::get_op(instruction.op);
    if (!def.evaluate || !def.infer) return false;
    std::vector<BoundValue> inputs;
    for (const Operand& input : instruction.inputs) {
      auto value = operand(input);
      if (!value) return false;
      inputs.push_back(std::move(*value));
    }
    if (fold(def, instruction, inputs)) return true;
    Problem problem{.instruction = &instruction, .inputs = {}, .outputs = {}, .isa = context_.isa,
                    .threads = context_.threads};
    for (const BoundValue& value : inputs) problem.inputs.push_back(value.type);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].known.defined()) problem.inputs[i].known = remember(inputs[i].known);
    }
    if (!infer(def, instruction, problem)) return false;
    add_step(instruction, std::move(problem));
    return true;
  }

  // Small things that are known already are computed at once.
  bool fold(const op::OpDef& def, const Instruction& instruction, const std::vector<BoundValue>& inputs) {
    if (is_random(def.name)) return false;
    std::vector<Tensor> tensors;
    int64_t size = 0;
    for (const BoundValue& input : inputs) {
      if (!input.present) {
        tensors.emplace_back();
        continue;
      }
      if (!input.known.defined()) return false;
      size += input.known.size();
      tensors.push_back(input.known);
    }
    if (size > kMaxKnown) return false;
    const auto results = op::evaluate(def, std::move(tensors), instruction.attributes, instruction.outputs.size());
    if (std::any_of(results.begin(), results.end(), [](const Tensor& result) { return !has_bytes(result.dtype()); })) {
      return false;
    }
    for (size_t i = 0; i < results.size(); ++i) set_known(instruction.outputs[i], results[i]);
    return true;
  }

  void set_known(const Operand& output, const Tensor& tensor) {
    if (output.kind != OperandKind::buffer) return;
    BoundValue& value = values_[size_t(output.index)];
    value.type.dtype = tensor.dtype();
    value.type.dims = tensor.dims();
    value.known = tensor;
    value.place = {Place::Kind::constant, 0, remember(tensor)->bytes().data()};
    value.present = true;
  }

  // Sets the outputs of the problem. False where a length is not known.
  bool infer(const op::OpDef& def, const Instruction& instruction, Problem& problem) {
    std::vector<op::TypeInfo> types;
    for (const ProblemValue& input : problem.inputs) types.push_back({input.dtype, tensor::to_shape(input.dims)});
    op::InferContext context{.op = def.name, .attributes = instruction.attributes, .inputs = {}, .constants = {},
                             .outputs = std::vector<op::TypeInfo>(instruction.outputs.size()), .unique_name = "x"};
    for (size_t i = 0; i < types.size(); ++i) {
      context.inputs.push_back(problem.inputs[i].present() ? &types[i] : nullptr);
      context.constants.push_back(problem.inputs[i].known);
    }
    def.infer(context);
    for (const op::TypeInfo& type : context.outputs) {
      const auto dims = tensor::to_dims(type.shape);
      if (!type.is_plain() || !dims || !has_bytes(type.dtype)) return false;
      problem.outputs.push_back({.dtype = type.dtype, .dims = *dims});
    }
    known_elements_.clear();
    for (const op::TypeInfo& type : context.outputs) known_elements_.push_back(elements_of(type));
    return true;
  }

  // What inference alone knows: the result of Shape and the like.
  static Tensor elements_of(const op::TypeInfo& type) {
    if (!type.elements || type.dtype != DType::i64) return {};
    std::vector<int64_t> numbers;
    for (const tensor::Dim& dim : *type.elements) {
      if (!dim.is_constant()) return {};
      numbers.push_back(dim.value());
    }
    const auto dims = tensor::to_dims(type.shape);
    if (tensor::element_count(std::span<const int64_t>(*dims)) != int64_t(numbers.size())) return {};
    return Tensor::of<int64_t>(*dims, numbers);
  }

  void add_step(const Instruction& instruction, Problem problem) {
    if (!is_random(instruction.op) &&
        std::all_of(known_elements_.begin(), known_elements_.end(), [](const Tensor& t) { return t.defined(); })) {
      for (size_t i = 0; i < known_elements_.size(); ++i) set_known(instruction.outputs[i], known_elements_[i]);
      return;
    }
    auto step = std::make_unique<StageStep>();
    step->problem = std::move(problem);
    work_ += work_of(step->problem);
    stage_.multiplications += multiplications_of(step->problem);
    std::vector<std::string> refusals;
    step->kernel = backend::find_graph_kernel(context_.device, step->problem, &refusals);
    if (!step->kernel) {  // the reference reads row-major
      for (ProblemValue& input : step->problem.inputs) input.order = Order::plain;
    }
    const auto& read = step->problem.inputs;
    const bool packed = std::any_of(read.begin(), read.end(), [](const auto& v) { return v.layout != "plain"; });
    if (!step->kernel && packed) {  // the reference knows plain constants only
      fail(ErrorCode::unsupported, "no kernel takes it: {}", fmt::join(refusals, "; "));
    }
    if (!step->kernel) step->refusals = std::move(refusals);
    std::vector<Place> places;
    for (size_t i = 0; i < instruction.inputs.size(); ++i) {
      places.push_back(place_of(instruction.inputs[i], step->problem.inputs[i]));
    }
    const bool view = step->kernel && !step->kernel->run;
    for (size_t i = 0; i < instruction.outputs.size(); ++i) {
      const Operand& output = instruction.outputs[i];
      const bool wanted = output.kind == OperandKind::buffer;
      step->outputs.push_back(wanted ? output.index : -1);
      const Place place = view ? places[0] : new_buffer(step->problem.outputs[i].bytes());
      output_places_[steps_.size()].push_back(place);
      if (!wanted) continue;
      BoundValue& value = values_[size_t(output.index)];
      value.type = step->problem.outputs[i];
      value.place = place;
      value.present = true;
    }
    push(std::move(step), std::move(places));
  }

  void push(std::unique_ptr<StageStep> step, std::vector<Place> inputs) {
    steps_.push_back(std::move(step));
    input_places_.push_back(std::move(inputs));
  }

  // Where the operand lies in the order that `wanted` asks for; adds a reorder where it has to.
  Place place_of(const Operand& operand, const ProblemValue& wanted) {
    if (operand.kind == OperandKind::absent) return {};
    if (operand.kind == OperandKind::constant) {
      return {Place::Kind::constant, size_t(operand.index),
              context_.model.constants[size_t(operand.index)].bytes().data()};
    }
    return place_in_order(values_[size_t(operand.index)], wanted.order);
  }

  Place place_in_order(BoundValue& value, Order order) {
    if (value.type.order == order || backend::same_bytes(value.type.dims)) return value.place;
    if (value.reordered) return *value.reordered;
    auto step = std::make_unique<StageStep>();
    step->kernel = &reorder_kernel();
    step->problem.instruction = &reorder_instruction();
    step->problem.inputs = {value.type};
    step->problem.outputs = {value.type};
    step->problem.outputs[0].order = order;
    step->outputs = {-1};
    const Place place = new_buffer(value.type.bytes());
    output_places_[steps_.size()].push_back(place);
    push(std::move(step), {value.place});
    value.reordered = place;
    return place;
  }

  static const Instruction& reorder_instruction() {
    static const Instruction instruction{.op = "reorder", .kernel = {}, .name = {}, .attributes = {}, .inputs = {},
                                         .outputs = {}};
    return instruction;
  }

  Place new_buffer(size_t bytes) {
    buffers_.push_back({.bytes = bytes});
    return {Place::Kind::buffer, buffers_.size() - 1};
  }

  const Tensor* remember(const Tensor& tensor) {
    known_.push_back(std::make_shared<Tensor>(tensor));
    return known_.back().get();
  }

  bool used_later(size_t value) const { return context_.last_use[value] >= stage_.end; }

  // Values that outlive the stage, row-major.
  void keep_results() {
    for (size_t i = 0; i < values_.size(); ++i) {
      BoundValue& value = values_[i];
      if (!value.present || !used_later(i)) continue;
      if (value.place.kind == Place::Kind::state && value.place.index == i) continue;  // was there before
      const Place place = place_in_order(value, Order::plain);
      Stage::Result result{.value = int64_t(i), .dtype = value.type.dtype, .dims = value.type.dims, .address = nullptr,
                           .known = value.known};
      if (place.kind == Place::Kind::state) result.same_as = int64_t(place.index);
      if (place.kind == Place::Kind::constant && !value.known.defined()) {
        result.known = Tensor::view(value.type.dtype, value.type.dims, {place.address, value.type.bytes()}, nullptr);
      }
      if (place.kind == Place::Kind::buffer) kept_.push_back(place.index);
      stage_.results.push_back(std::move(result));
      result_places_.push_back(place);
    }
  }

  // Lifetimes of buffers; an output takes the place of an input that dies, where the kernel allows it.
  void reuse_places() {
    const int64_t count = int64_t(steps_.size());
    std::vector<int64_t> last(buffers_.size(), -1);
    for (int64_t s = 0; s < count; ++s) {
      for (const Place& place : input_places_[size_t(s)]) {
        if (place.kind == Place::Kind::buffer) last[place.index] = s;
      }
    }
    for (const size_t kept : kept_) last[kept] = count;
    merged_.resize(buffers_.size());
    for (size_t b = 0; b < buffers_.size(); ++b) merged_[b] = b;
    std::vector<bool> begun(buffers_.size(), false);
    for (int64_t s = 0; s < count; ++s) {
      for (const Place& place : output_places_[size_t(s)]) {
        if (place.kind != Place::Kind::buffer || begun[place.index]) continue;
        begun[place.index] = true;
        const size_t b = place.index;
        if (const auto dying = find_dying(s, b, last)) {
          merged_[b] = *dying;
        } else {
          buffers_[b].begin = s;
        }
        ArenaBuffer& home = buffers_[merged_[b]];
        home.end = std::max({home.end, last[b], s});
        last[merged_[b]] = std::max(last[merged_[b]], last[b]);
      }
    }
  }

  // The home of an input of step `s` that output buffer `b` may take.
  std::optional<size_t> find_dying(int64_t s, size_t b, const std::vector<int64_t>& last) const {
    const StageStep& step = *steps_[size_t(s)];
    if (!step.kernel || !step.kernel->in_place || output_places_.at(size_t(s))[0].index != b) return std::nullopt;
    const ProblemValue& output = step.problem.outputs[0];
    const auto& places = input_places_[size_t(s)];
    const auto like_output = [&](size_t i) {
      const ProblemValue& input = step.problem.inputs[i];
      return input.dims == output.dims && input.order == output.order && input.dtype == output.dtype;
    };
    for (size_t i = 0; i < places.size(); ++i) {
      if (places[i].kind != Place::Kind::buffer || !like_output(i)) continue;
      const size_t home = merged_[places[i].index];
      if (last[places[i].index] != s || last[home] != s || buffers_[home].bytes < buffers_[b].bytes) continue;
      bool safe = true;  // the same memory read in another way would be overwritten too early
      for (size_t j = 0; j < places.size(); ++j) {
        safe &= places[j].kind != Place::Kind::buffer || merged_[places[j].index] != home || like_output(j);
      }
      if (safe) return home;
    }
    return std::nullopt;
  }

  std::byte* address_of(const Place& place, std::byte* arena) const {
    if (place.kind == Place::Kind::constant) return const_cast<std::byte*>(place.address);  // kernels only read it
    if (place.kind != Place::Kind::buffer) return nullptr;
    return arena + buffers_[merged_[place.index]].offset;
  }

  // The step in which most bytes are alive.
  void find_peak(const std::vector<ArenaBuffer>& homes) {
    std::vector<int64_t> change(steps_.size() + 2, 0);
    for (const ArenaBuffer& home : homes) {
      const auto end = std::min(size_t(std::max<int64_t>(home.end, 0)) + 1, steps_.size() + 1);
      change[size_t(home.begin)] += int64_t(home.bytes);
      change[end] -= int64_t(home.bytes);
    }
    int64_t live = 0;
    for (size_t s = 0; s < steps_.size(); ++s) {
      live += change[s];
      if (size_t(live) <= stage_.live_bytes) continue;
      stage_.live_bytes = size_t(live);
      stage_.live_step = s;
    }
  }

  // Memory, addresses, and what kernels prepare.
  void resolve() {
    std::vector<ArenaBuffer> homes;
    std::vector<size_t> home_of;
    for (size_t b = 0; b < buffers_.size(); ++b) {
      if (merged_[b] == b) {
        homes.push_back(buffers_[b]);
        home_of.push_back(b);
      }
    }
    size_t bytes = place_buffers(homes);
    for (size_t i = 0; i < homes.size(); ++i) buffers_[home_of[i]].offset = homes[i].offset;
    size_t scratch = 0;
    for (const auto& step : steps_) {
      if (step->kernel && step->kernel->scratch_size)
        scratch = std::max(scratch, step->kernel->scratch_size(step->problem));
    }
    stage_.scratch_bytes = scratch;
    find_peak(homes);
    // Never nothing: also what has no elements lies somewhere.
    stage_.arena_bytes = std::max<size_t>(checked_add(bytes, scratch, "arena"), 64);
    if (context_.measuring) {
      stage_.steps = std::move(steps_);
      stage_.known = std::move(known_);
      return;
    }
    if (!steps_.empty()) {
      stage_.arena = with_context("working space", [&] { return context_.device.allocate(stage_.arena_bytes, true); });
    }
    std::byte* arena = stage_.arena.get();
    for (size_t s = 0; s < steps_.size(); ++s) {
      StageStep& step = *steps_[s];
      step.call.problem = &step.problem;
      step.call.refused = &step.refused;
      step.call.scratch = arena + bytes;
      for (size_t i = 0; i < input_places_[s].size(); ++i) {
        const Place& place = input_places_[s][i];
        step.call.inputs.push_back(address_of(place, arena));
        if (place.kind == Place::Kind::state) stage_.patches.push_back({s, i, int64_t(place.index)});
      }
      for (const Place& place : output_places_[s]) step.call.outputs.push_back(address_of(place, arena));
      if (step.kernel && step.kernel->prepare) step.prepared = step.kernel->prepare(step.problem);
      step.call.prepared = step.prepared.get();
    }
    for (size_t i = 0; i < stage_.results.size(); ++i) {
      if (result_places_[i].kind == Place::Kind::buffer)
        stage_.results[i].address = address_of(result_places_[i], arena);
    }
    stage_.steps = std::move(steps_);
    stage_.known = std::move(known_);
  }

  const BindingContext& context_;
  const plan::GraphPlan& plan_;
  std::vector<BoundValue> values_;
  size_t at_;
  size_t begin_;
  double work_ = 0;  // of the steps so far
  Stage stage_;
  std::vector<std::unique_ptr<StageStep>> steps_;
  std::vector<std::vector<Place>> input_places_;  // by step
  std::map<size_t, std::vector<Place>> output_places_;
  std::vector<ArenaBuffer> buffers_;
  std::vector<size_t> merged_;  // buffer -> the one whose place it takes
  std::vector<size_t> kept_;    // buffers that outlive the stage
  std::vector<Place> result_places_;
  std::vector<std::shared_ptr<const Tensor>> known_;
  std::vector<Tensor> known_elements_;  // of the outputs of the instruction that is being bound
};

}  // namespace

Stage bind_stage(const BindingContext& context, const std::vector<ValueState>& states, size_t begin) {
  return Binder(context, states, begin).run();
}

}  // namespace lathe::runtime
