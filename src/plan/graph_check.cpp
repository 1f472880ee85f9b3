// Whether a graph plan that somebody wrote can be run at all.
#include <set>

#include "base/error.h"
#include "op/bindings.h"
#include "plan/graph_body.h"

namespace lathe::plan {
namespace {

using op::TypeInfo;

class Checker {
 public:
  explicit Checker(const GraphModel& model) : plan_(model.plan), model_(model), written_(plan_.values.size(), false) {}

  void run() {
    for (const Constant& constant : plan_.constants) {
      with_context(fmt::format("constant \"{}\"", constant.name), [&] { check_constant(constant); });
    }
    check_inputs();
    for (const Instruction& instruction : plan_.instructions) {
      with_context(fmt::format("{} \"{}\"", instruction.op, instruction.name), [&] { check_operands(instruction); });
    }
    for (size_t i = 0; i < written_.size(); ++i) {
      if (!written_[i]) fail(ErrorCode::invalid_input, "nothing writes the value \"{}\"", plan_.values[i].name);
    }
    check_outputs();
    check_types();
    for (const Instruction& instruction : plan_.instructions) {
      for (const auto& [name, value] : instruction.attributes) {
        if (const GraphBody* body = find_body(value)) {
          with_context(fmt::format("\"{}\": {}", instruction.name, name), [&] { check_body(*body); });
        }
      }
    }
  }

 private:
  static void check_constant(const Constant& constant) {
    tensor::element_count(std::span<const int64_t>(constant.dims));  // throws for what cannot be
    if (constant.encoding != tensor::Encoding::plain) {
      fail(ErrorCode::invalid_input, "{} in a graph", tensor::to_string(constant.encoding));
    }
  }

  void check_inputs() {
    std::set<std::string_view> names;
    for (const int64_t input : plan_.inputs) {
      require_value(input);
      if (written_[size_t(input)]) fail(ErrorCode::invalid_input, "input {} comes twice", input);
      written_[size_t(input)] = true;
      const std::string& name = plan_.values[size_t(input)].name;
      if (!names.insert(name).second) fail(ErrorCode::invalid_input, "two inputs are called \"{}\"", name);
    }
  }

  void check_operands(const Instruction& instruction) {
    for (const Operand& input : instruction.inputs) require_readable(input);
    for (const Operand& output : instruction.outputs) {
      if (output.kind == OperandKind::absent) continue;
      if (output.kind != OperandKind::buffer) fail(ErrorCode::invalid_input, "an output that is no value");
      require_value(output.index);
      if (written_[size_t(output.index)]) {
        fail(ErrorCode::invalid_input, "the value \"{}\" is written twice", plan_.values[size_t(output.index)].name);
      }
      written_[size_t(output.index)] = true;
    }
  }

  void check_outputs() {
    std::set<std::string_view> names;
    for (const GraphOutput& output : plan_.outputs) {
      with_context(fmt::format("output \"{}\"", output.name), [&] {
        if (output.operand.kind == OperandKind::absent) fail(ErrorCode::invalid_input, "it is nothing");
        require_readable(output.operand);
        if (!names.insert(output.name).second) fail(ErrorCode::invalid_input, "the name comes twice");
      });
    }
  }

  void check_types() {
    const std::vector<TypeInfo> types = infer_types(model_);
    for (size_t i = 0; i < types.size(); ++i) {
      const GraphValue& value = plan_.values[i];
      if (types[i] == value.type) continue;
      fail(ErrorCode::invalid_input, "value \"{}\" is declared {}, its instruction gives {}", value.name,
           op::to_string(value.type), op::to_string(types[i]));
    }
  }

  static void check_body(const GraphBody& body) {
    const GraphPlan& plan = body.model()->plan;
    if (body.input_types().size() != plan.inputs.size() || body.output_types().size() != plan.outputs.size()) {
      fail(ErrorCode::invalid_input, "a body of {} inputs and {} outputs, declared with {} and {}", plan.inputs.size(),
           plan.outputs.size(), body.input_types().size(), body.output_types().size());
    }
    check(*body.model());
  }

  void require_value(int64_t index) const {
    if (index >= 0 && uint64_t(index) < plan_.values.size()) return;
    fail(ErrorCode::invalid_input, "value {} of {}", index, plan_.values.size());
  }

  void require_readable(const Operand& operand) const {
    if (operand.kind == OperandKind::absent) return;
    if (operand.kind == OperandKind::constant) {
      if (operand.index >= 0 && uint64_t(operand.index) < plan_.constants.size()) return;
      fail(ErrorCode::invalid_input, "constant {} of {}", operand.index, plan_.constants.size());
    }
    if (operand.kind != OperandKind::buffer)
      fail(ErrorCode::invalid_input, "an operand that is neither value nor constant");
    require_value(operand.index);
    if (!written_[size_t(operand.index)]) {
      fail(ErrorCode::invalid_input, "\"{}\" is read before it is written", plan_.values[size_t(operand.index)].name);
    }
  }

  const GraphPlan& plan_;
  const GraphModel& model_;
  std::vector<bool> written_;
};

}  // namespace

void check(const GraphModel& model) {
  Checker(model).run();
}

}  // namespace lathe::plan
