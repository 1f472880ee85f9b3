// Types of a graph plan's values, by the operators' own inference.
#include <algorithm>

#include "base/error.h"
#include "op/subgraph.h"
#include "plan/graph_plan.h"

namespace lathe::plan {
namespace {

using op::TypeInfo;
using tensor::DType;
using tensor::Tensor;

// As ir::Graph reads constants: small ones, and of lists the elements.
constexpr size_t kMaxKnownBytes = size_t{64} << 10;
constexpr int64_t kMaxElements = 256;

TypeInfo type_of(const Constant& constant) {
  return {constant.dtype, tensor::to_shape(constant.dims)};
}

const Tensor* known_constant(const GraphModel& model, size_t index) {
  const Tensor& tensor = model.constants[index];
  if (!tensor.defined()) return nullptr;  // a large one, which a builder has not loaded
  const bool small = tensor.dtype() == DType::string || tensor.bytes().size() <= kMaxKnownBytes;
  return model.plan.constants[index].layout == "plain" && small ? &tensor : nullptr;
}

std::optional<std::vector<tensor::Dim>> elements_of(const Tensor* tensor) {
  if (!tensor || tensor->rank() > 1 || tensor->size() > kMaxElements) return std::nullopt;
  if (tensor->dtype() != DType::i64 && tensor->dtype() != DType::i32) return std::nullopt;
  std::vector<tensor::Dim> elements;
  for (int64_t i = 0; i < tensor->size(); ++i) {
    elements.emplace_back(tensor->dtype() == DType::i64 ? tensor->data<int64_t>()[size_t(i)]
                                                        : int64_t(tensor->data<int32_t>()[size_t(i)]));
  }
  return elements;
}

// A name as part of a symbol, so that different names stay different.
std::string symbol_text(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    text += plain ? std::string(1, c) : fmt::format("~{:02x}", static_cast<unsigned char>(c));
  }
  return text;
}

class Inference {
 public:
  explicit Inference(const GraphModel& model) : model_(model), values_(model.plan.values.size()) {
    for (size_t i = 0; i < model.plan.constants.size(); ++i) {
      constants_.push_back(type_of(model.plan.constants[i]));
      constants_.back().elements = elements_of(known_constant(model, i));
    }
    for (const int64_t input : model.plan.inputs) values_[size_t(input)] = model.plan.values[size_t(input)].type;
  }

  std::vector<TypeInfo> run() {
    for (const Instruction& instruction : model_.plan.instructions) {
      with_context(fmt::format("{} \"{}\"", instruction.op, instruction.name), [&] { infer(instruction); });
    }
    for (TypeInfo& type : values_) type.elements.reset();
    return std::move(values_);
  }

 private:
  void infer(const Instruction& instruction) {
    const op::OpDef* def = op::find_op(instruction.op);
    if (!def) fail(ErrorCode::invalid_input, "no operator named \"{}\"", instruction.op);
    op::check_signature(*def, instruction.inputs.size(), instruction.outputs.size(), instruction.attributes);
    op::InferContext context{.op = def->name,
                             .attributes = instruction.attributes,
                             .inputs = {},
                             .constants = {},
                             .outputs = std::vector<TypeInfo>(instruction.outputs.size()),
                             .unique_name = symbol_text(name_of(instruction))};
    bool plain = true;
    for (const Operand& input : instruction.inputs) {
      const bool constant = input.kind == OperandKind::constant;
      const TypeInfo* type = input.kind == OperandKind::absent ? nullptr
                             : constant                        ? &constants_[size_t(input.index)]
                                                               : &values_[size_t(input.index)];
      plain &= !type || type->is_plain();
      context.inputs.push_back(type);
      context.constants.push_back(constant ? known_constant(model_, size_t(input.index)) : nullptr);
    }
    if ((plain || def->infers_any) && def->infer) {
      def->infer(context);
    } else {
      context.outputs.assign(instruction.outputs.size(), TypeInfo::unranked(DType::undefined));
    }
    for (size_t i = 0; i < instruction.outputs.size(); ++i) {
      if (instruction.outputs[i].kind != OperandKind::buffer) continue;
      values_[size_t(instruction.outputs[i].index)] = std::move(context.outputs[i]);
    }
  }

  const std::string& name_of(const Instruction& instruction) const {
    for (const Operand& output : instruction.outputs) {
      if (output.kind == OperandKind::buffer) return model_.plan.values[size_t(output.index)].name;
    }
    return instruction.name;
  }

  const GraphModel& model_;
  std::vector<TypeInfo> values_;
  std::vector<TypeInfo> constants_;
};

}  // namespace

TypeInfo type_of(const GraphPlan& plan, const Operand& operand) {
  if (operand.kind == OperandKind::constant) return type_of(plan.constants[size_t(operand.index)]);
  if (operand.kind == OperandKind::buffer) return plan.values[size_t(operand.index)].type;
  return {};
}

std::vector<TypeInfo> infer_types(const GraphModel& model) {
  return Inference(model).run();
}

}  // namespace lathe::plan
