#include "compiler/graph_build.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "backend/device.h"
#include "backend/graph_kernel.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/team.h"
#include "compiler/body_constants.h"
#include "ir/body.h"
#include "opt/lowering.h"
#include "opt/pipeline.h"
#include "plan/graph_body.h"
#include "tensor/load_in_place.h"

namespace lathe::compiler {
namespace {

using ir::Node;
using ir::Value;
using plan::GraphModel;
using plan::Instruction;
using plan::Operand;
using plan::OperandKind;
using tensor::Tensor;

class Builder {
 public:
  Builder(const ir::Graph& graph, const GraphBuildOptions& options)
      : graph_(graph), options_(options), device_(backend::get_device(options.device)) {
    model_->plan.device = device_.name;
  }

  std::shared_ptr<const GraphModel> run() {
    for (const Value input : graph_.inputs()) model_->plan.inputs.push_back(value_of(input));
    for (const ir::NodeId id : graph_.nodes()) add_instruction(graph_.node(id));
    for (const Value output : graph_.outputs()) {
      model_->plan.outputs.push_back({graph_.name(output), plain_operand(output)});
    }
    pack_all();
    return model_;
  }

 private:
  // Constants in the layouts that the device wants, by as many threads as the process has: it is a matter of memory.
  void pack_all() {
    if (packs_.empty()) return;
    Team team(int(std::min<size_t>(packs_.size(), size_t(available_cpus()))));
    team.for_each(int64_t(packs_.size()), [&](int64_t i) {
      const Pack& pack = packs_[size_t(i)];
      Tensor& tensor = model_->constants[pack.constant];
      tensor = pack.layout->pack(pack.instruction, tensor);
      pack.source->drop_rows(0, pack.source->rows());
      model_->plan.constants[pack.constant].bytes = int64_t(tensor.bytes().size());
    });
  }

  int64_t value_of(Value value) {
    const auto [it, fresh] = values_.emplace(value, int64_t(model_->plan.values.size()));
    if (fresh) {
      model_->plan.values.push_back({graph_.name(value), graph_.type(value)});
      model_->plan.values.back().type.elements.reset();
    }
    return it->second;
  }

  Operand plain_operand(Value value) {
    if (!value) return {};
    if (graph_.is_constant(value)) return constant(value, nullptr, nullptr);
    return {OperandKind::buffer, value_of(value)};
  }

  // The layout that the device wants input `i` in, or nullptr.
  const backend::GraphLayout* layout_of(const Instruction& instruction, size_t i, Value value) const {
    const tensor::Source& source = *graph_.source(value);
    for (const backend::GraphLayout* layout : device_.graph_layouts) {
      if (layout->wanted(instruction, i, source.dtype(), source.dims())) return layout;
    }
    return nullptr;
  }

  Operand constant(Value value, const backend::GraphLayout* layout, const Instruction* instruction) {
    const std::string_view name = layout ? layout->name : "plain";
    const int64_t variant = layout && layout->variant ? layout->variant(*instruction) : 0;
    const auto key = std::tuple(value, std::string(name), variant);
    if (const auto it = constants_.find(key); it != constants_.end()) return {OperandKind::constant, it->second};
    const tensor::SourcePtr& source = graph_.source(value);
    Tensor tensor = tensor::load_in_place(source);
    plan::Constant constant;
    constant.name = graph_.source_name(value);
    constant.dtype = tensor.dtype();
    constant.dims = tensor.dims();
    constant.layout = name;
    if (layout) packs_.push_back({model_->constants.size(), layout, *instruction, source});
    constant.bytes = tensor.dtype() == tensor::DType::string ? 0 : int64_t(tensor.bytes().size());
    const auto index = int64_t(model_->constants.size());
    model_->plan.constants.push_back(std::move(constant));
    model_->constants.push_back(std::move(tensor));
    constants_.emplace(key, index);
    return {OperandKind::constant, index};
  }

  void add_instruction(const Node& node) {
    Instruction instruction;
    instruction.op = node.op;
    instruction.name = node.name.empty() && node.outputs[0] ? graph_.name(node.outputs[0]) : node.name;
    instruction.attributes = with_bodies(node);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Value input = node.inputs[i];
      const bool is_constant = graph_.is_constant(input);
      instruction.inputs.push_back(is_constant ? constant(input, layout_of(instruction, i, input), &instruction)
                                               : plain_operand(input));
    }
    for (const Value output : node.outputs) {
      instruction.outputs.push_back(output ? Operand{OperandKind::buffer, value_of(output)} : Operand{});
    }
    model_->plan.instructions.push_back(std::move(instruction));
  }

  // The node's attributes, graphs in them compiled as well.
  op::Attributes with_bodies(const Node& node) const {
    op::Attributes attributes = node.attributes;
    ir::each_body(node, [&](const std::string& name, const ir::Graph& body) {
      const auto& plain = std::get<op::SubgraphPtr>(std::find_if(node.attributes.begin(), node.attributes.end(), [&](
          const auto& entry) { return entry.first == name; })->second);
      attributes.set(name, std::make_shared<plan::GraphBody>(
                               plain, build_graph(with_constants(graph_, node, name, body), options_)));
    });
    return attributes;
  }

  const ir::Graph& graph_;
  const GraphBuildOptions& options_;
  const backend::Device& device_;
  std::shared_ptr<GraphModel> model_ = std::make_shared<GraphModel>();
  struct Pack {
    size_t constant;
    const backend::GraphLayout* layout;
    Instruction instruction;  // without operands: its attributes say what the weights are
    tensor::SourcePtr source;
  };
  std::vector<Pack> packs_;
  std::map<Value, int64_t> values_;
  std::map<std::tuple<Value, std::string, int64_t>, int64_t> constants_;  // by constant, layout and its variant
};

}  // namespace

std::shared_ptr<const GraphModel> build_graph(ir::Graph graph, const GraphBuildOptions& options) {
  if (options.fuse) {
    opt::PassOptions passes;
    passes.level = opt::Level::o2;
    opt::optimise(graph, passes);
    opt::run_passes(graph, opt::lowering_passes(), passes);
  }
  return Builder(graph, options).run();
}

}  // namespace lathe::compiler
