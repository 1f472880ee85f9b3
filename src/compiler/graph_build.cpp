#include "compiler/graph_build.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <tuple>

#include "backend/device.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/team.h"
#include "compiler/body_constants.h"
#include "ir/body.h"
#include "opt/lowering.h"
#include "opt/pipeline.h"
#include "opt/rule.h"
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

PlannedGraph plan_body(ir::Graph graph, const GraphBuildOptions& options);

class Builder {
 public:
  Builder(const ir::Graph& graph, const GraphBuildOptions& options)
      : graph_(graph), options_(options), device_(backend::get_device(options.device)) {
    model_->plan.device = device_.name;
  }

  PlannedGraph run() {
    for (const Value input : graph_.inputs()) model_->plan.inputs.push_back(value_of(input));
    for (const ir::NodeId id : graph_.nodes()) add_instruction(graph_.node(id));
    for (const Value output : graph_.outputs()) {
      model_->plan.outputs.push_back({graph_.name(output), plain_operand(output)});
    }
    model_->constants.resize(model_->plan.constants.size());
    return {model_, std::move(jobs_), std::move(bodies_), {}};
  }

 private:
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
    const auto index = int64_t(model_->plan.constants.size());
    ConstantJob job{
        .model = model_.get(), .index = size_t(index), .source = source, .layout = layout, .variant = variant};
    if (layout) job.instruction = *instruction;
    jobs_.push_back(std::move(job));
    plan::Constant constant;
    constant.name = graph_.source_name(value);
    constant.dtype = source->encoding() == tensor::Encoding::plain ? source->dtype() : tensor::DType::f32;  // as load()
    constant.dims = source->dims();
    constant.layout = name;
    model_->plan.constants.push_back(std::move(constant));
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
  op::Attributes with_bodies(const Node& node) {
    op::Attributes attributes = node.attributes;
    ir::each_body(node, [&](const std::string& name, const ir::Graph& body) {
      const auto& plain = std::get<op::SubgraphPtr>(std::find_if(node.attributes.begin(), node.attributes.end(), [&](
          const auto& entry) { return entry.first == name; })->second);
      PlannedGraph planned = plan_body(with_constants(graph_, node, name, body), options_);
      std::move(planned.constants.begin(), planned.constants.end(), std::back_inserter(jobs_));
      bodies_.insert(bodies_.end(), planned.bodies.begin(), planned.bodies.end());
      bodies_.push_back(planned.model.get());
      attributes.set(name, std::make_shared<plan::GraphBody>(plain, std::move(planned.model)));
    });
    return attributes;
  }

  const ir::Graph& graph_;
  const GraphBuildOptions& options_;
  const backend::Device& device_;
  std::shared_ptr<GraphModel> model_ = std::make_shared<GraphModel>();
  std::vector<ConstantJob> jobs_;
  std::vector<GraphModel*> bodies_;
  std::map<Value, int64_t> values_;
  std::map<std::tuple<Value, std::string, int64_t>, int64_t> constants_;  // by constant, layout and its variant
};

PlannedGraph plan_body(ir::Graph graph, const GraphBuildOptions& options) {
  optimise_graph(graph, options);
  GraphBuildOptions own = options;
  own.precision = contract::Precision::fp32;  // loops would add their roundings up
  return plan_graph(std::move(graph), own);
}

}  // namespace

Tensor ConstantJob::plain() const {
  return tensor::load_in_place(source);
}

Tensor ConstantJob::packed() const {
  Tensor tensor = layout->pack(instruction, plain());
  if (!source->dims().empty()) source->drop_rows(0, source->rows());
  return tensor;
}

void optimise_graph(ir::Graph& graph, const GraphBuildOptions& options) {
  if (!options.fuse) return;
  opt::PassOptions passes = options.passes;
  passes.level = opt::Level::o2;
  opt::optimise(graph, passes);
}

contract::Precision graph_precision(const std::string& text) {
  contract::Precision precision = contract::Precision::fp32;
  if (text.empty()) return precision;
  if (!from_string(text, precision) || precision == contract::Precision::q8) {
    fail(ErrorCode::usage, "--precision {}: expected fp32, bf16, fp16 or int8 for graphs and pictures", text);
  }
  return precision;
}

opt::ProductRounding rounding_of_products(contract::Precision precision) {
  switch (precision) {
    case contract::Precision::bf16:
      return {.x = "bf16", .weights = "bf16"};
    case contract::Precision::fp16:
      return {.x = "f32", .weights = "f16"};
    default:
      return {};
  }
}

std::vector<plan::Island> lower_graph(ir::Graph& graph, const GraphBuildOptions& options) {
  if (options.fuse) {
    opt::PassOptions passes = options.passes;
    passes.level = opt::Level::o2;
    opt::run_passes(graph, opt::lowering_passes(), passes);
  }
  std::set<std::string> kept;
  std::vector<plan::Island> islands = options.islands;
  for (const plan::Island& island : islands) kept.insert(island.name);
  for (opt::KeptProduct& product :
       opt::round_products(graph, rounding_of_products(options.precision), kept)) {
    islands.push_back({std::move(product.name), std::move(product.reason)});
  }
  return islands;
}

PlannedGraph plan_graph(ir::Graph graph, const GraphBuildOptions& options) {
  std::vector<plan::Island> islands = lower_graph(graph, options);
  PlannedGraph planned = Builder(graph, options).run();
  planned.islands = std::move(islands);
  return planned;
}

std::shared_ptr<const GraphModel> build_graph(ir::Graph graph, const GraphBuildOptions& options) {
  optimise_graph(graph, options);
  return load_constants(plan_graph(std::move(graph), options));
}

std::shared_ptr<const GraphModel> load_constants(PlannedGraph planned) {
  std::vector<const ConstantJob*> packs;
  for (const ConstantJob& job : planned.constants) {
    if (job.layout)
      packs.push_back(&job);
    else
      job.model->constants[job.index] = job.plain();
  }
  if (!packs.empty()) {  // by as many threads as the process has: it is a matter of memory
    Team team(int(std::min<size_t>(packs.size(), size_t(available_cpus()))));
    team.for_each(int64_t(packs.size()), [&](int64_t i) {
      const ConstantJob& job = *packs[size_t(i)];
      job.model->constants[job.index] = job.packed();
    });
  }
  for (const ConstantJob& job : planned.constants) {
    const Tensor& tensor = job.model->constants[job.index];
    job.model->plan.constants[job.index].bytes = int64_t(tensor.bytes().size());
  }
  return planned.model;
}

std::shared_ptr<const GraphModel> build_node_by_node(ir::Graph graph) {
  std::vector<const opt::Rule*> rules;
  for (const std::string_view name : {"dequantized_constant", "conv", "gemm", "matmul"}) {
    rules.push_back(opt::find_rule(name));
    LATHE_CHECK(rules.back(), "rule {}", name);
  }
  const std::vector<opt::Pass> passes = {opt::rewrite_pass("products", std::move(rules))};
  opt::run_passes(graph, passes, {});
  return build_graph(std::move(graph), {.device = "cpu", .fuse = false});
}

}  // namespace lathe::compiler
