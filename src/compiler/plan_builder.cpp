#include "compiler/plan_builder.h"

#include <map>

#include "backend/kernel.h"
#include "base/error.h"

namespace lathe::compiler {
namespace {

using ir::Node;
using ir::NodeId;
using ir::Value;
using plan::Operand;
using plan::OperandKind;
using plan::Rows;
using tensor::DType;
using tensor::Encoding;

class Builder {
 public:
  Builder(const ir::Graph& graph, const PlanOptions& options, const LogSink& log)
      : graph_(graph), options_(options), device_(backend::get_device(options.device)), log_(log) {}

  BuiltPlan run() {
    built_.plan.device = device_.name;
    built_.plan.compute = options_.compute;
    built_.plan.kv = options_.kv;
    built_.plan.kv_block = options_.kv_block;
    for (const Value input : graph_.inputs()) {
      if (!is_cache(input)) add_buffer(input);
    }
    for (const NodeId id : graph_.nodes()) add_instruction(graph_.node(id));
    for (const Value output : graph_.outputs()) {
      if (graph_.name(output) == "logits") built_.plan.logits = operands_.at(output).index;
    }
    LATHE_CHECK(built_.plan.logits >= 0, "the packed graph has no logits");
    for (plan::Instruction& instruction : built_.plan.instructions) {
      settle_rounding(instruction);
      instruction.kernel = backend::choose_kernel(built_.plan, instruction).name;
    }
    plan::plan_memory(built_.plan);
    return std::move(built_);
  }

 private:
  bool is_cache(Value value) const {
    return graph_.kind(value) == ir::ValueKind::input &&
           (graph_.name(value).starts_with("key_cache.") || graph_.name(value).starts_with("value_cache."));
  }

  void add_buffer(Value value) {
    const op::TypeInfo& type = graph_.type(value);
    plan::Buffer buffer;
    buffer.name = graph_.name(value);
    buffer.dtype = type.dtype;
    if (type.shape.empty()) fail(ErrorCode::unsupported, "value \"{}\" is a scalar per step", buffer.name);
    if (!from_string(type.shape[0].to_string(), buffer.rows)) {
      fail(ErrorCode::unsupported, "value \"{}\" {} has no rows per token", buffer.name, to_string(type));
    }
    if (type.shape.size() > 1 && buffer.name != plan::kBlockTable) {
      const auto columns = tensor::to_dims({type.shape.begin() + 1, type.shape.end()});
      if (!columns) fail(ErrorCode::unsupported, "value \"{}\" {} has symbolic columns", buffer.name, to_string(type));
      buffer.columns = tensor::element_count(std::span<const int64_t>(*columns));
    }
    operands_[value] = {OperandKind::buffer, int64_t(built_.plan.buffers.size())};
    built_.plan.buffers.push_back(std::move(buffer));
  }

  bool is_linear_weight(Value constant) const {
    for (const NodeId user : graph_.users(constant)) {
      const Node& node = graph_.node(user);
      if (node.op != "lathe.Linear") continue;
      const auto parts = size_t(node.attributes.get_int("parts", 1));
      for (size_t part = 0; part < parts; ++part) {
        if (node.inputs[4 + part] == constant) return true;
      }
    }
    return false;
  }

  // Matrices that were widened to fewer than 32 bits are floats in the graph, and stored as what they were widened to.
  tensor::SourcePtr as_stored(Value value) const {
    const tensor::SourcePtr& source = graph_.source(value);
    const bool widened = source->dims().size() == 2 && options_.widened.contains(graph_.source_name(value));
    return widened ? tensor::converted_source(source, device_.widened) : source;
  }

  Operand constant(Value value) {
    if (const auto it = operands_.find(value); it != operands_.end()) return it->second;
    tensor::SourcePtr source = as_stored(value);
    plan::Constant entry;
    entry.name = graph_.source_name(value);
    entry.layout = "plain";
    const bool table = device_.packed_tables && source->encoding() != Encoding::plain;
    if (table || is_linear_weight(value)) {
      const backend::PackedLayout* layout = backend::find_layout(device_, source->dtype(), source->encoding());
      if (!layout) {
        log_(LogLevel::info, fmt::format("\"{}\": no packed layout for {} {}, widened to f32", entry.name,
                                         tensor::to_string(source->dtype()), tensor::to_string(source->encoding())));
        source = tensor::converted_source(std::move(source), DType::f32);
        layout = backend::find_layout(device_, DType::f32, Encoding::plain);
        LATHE_CHECK(layout != nullptr, "device {} packs no f32", device_.name);
      }
      entry.layout = layout->name();
      entry.bytes = int64_t(layout->size(source->rows(), source->row_elements()));
    } else {
      entry.bytes = int64_t(source->byte_size());
    }
    entry.dtype = source->dtype();
    entry.encoding = source->encoding();
    entry.dims = source->dims();
    const Operand operand{OperandKind::constant, int64_t(built_.plan.constants.size())};
    built_.plan.constants.push_back(std::move(entry));
    built_.sources.push_back(std::move(source));
    return operands_[value] = operand;
  }

  Operand operand(Value value) {
    if (!value) return {};
    return graph_.is_constant(value) ? constant(value) : operands_.at(value);
  }

  void add_instruction(const Node& node) {
    plan::Instruction instruction;
    instruction.op = node.op;
    instruction.name = node.name;
    instruction.attributes = node.attributes;
    for (const Value input : node.inputs) {
      if (input && is_cache(input)) continue;  // both caches of a layer are one state
      instruction.inputs.push_back(operand(input));
    }
    if (node.op == "lathe.PagedAttention") {
      // Keys and values, before and after, are one state, changed in place.
      const Operand state{OperandKind::state, int64_t(built_.plan.states.size())};
      instruction.inputs.insert(instruction.inputs.end(), 2, state);
      built_.plan.states.push_back({.name = fmt::format("cache.{}", built_.plan.states.size()),
                                    .kind = "append",
                                    .kv_heads = node.attributes.get_int("kv_heads", 0),
                                    .head_dim = node.attributes.get_int("head_dim", 0)});
      add_buffer(node.outputs[0]);
      instruction.outputs = {operands_.at(node.outputs[0]), state, state};
    } else {
      for (const Value output : node.outputs) {
        if (output) add_buffer(output);
        instruction.outputs.push_back(output ? operands_.at(output) : Operand{});
      }
    }
    built_.plan.instructions.push_back(std::move(instruction));
  }

  // Weights that were widened, or whose columns do not fill blocks, take no rounding of their block format.
  void settle_rounding(plan::Instruction& instruction) const {
    if (instruction.op != "lathe.Linear" || instruction.attributes.get_string("compute", "f32") == "f32") return;
    const auto refusals = backend::kernel_choice(built_.plan, instruction);
    if (refusals.kernel) return;
    plan::Instruction exact = instruction;
    exact.attributes.set("compute", std::string("f32"));
    if (!backend::kernel_choice(built_.plan, exact).kernel) return;  // rounding is not what stands in the way
    log_(LogLevel::info, fmt::format("\"{}\": activations are not rounded: {}", instruction.name,
                                     refusals.refusals.empty() ? "" : refusals.refusals.front().reason));
    instruction = std::move(exact);
  }

  const ir::Graph& graph_;
  const PlanOptions& options_;
  const backend::Device& device_;
  const LogSink& log_;
  BuiltPlan built_;
  std::map<Value, Operand> operands_;
};

}  // namespace

BuiltPlan build_plan(const ir::Graph& packed, const PlanOptions& options, const LogSink& log) {
  return Builder(packed, options, log).run();
}

}  // namespace lathe::compiler
