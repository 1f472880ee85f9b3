#include "verify/graph_runs.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "ir/body.h"
#include "op/bindings.h"
#include "opt/lowering.h"
#include "opt/numeric_check.h"
#include "opt/pass_manager.h"

namespace lathe::verify {
namespace {

using op::TypeInfo;
using tensor::DType;

constexpr int64_t kLargestLength = 1024;  // where the search for lengths that fit gives up

op::Bindings bindings_of(const std::map<std::string, TypeInfo>& types, const GraphData& given) {
  std::map<std::string, const TypeInfo*, std::less<>> declared;
  for (const auto& [name, type] : types) declared.emplace(name, &type);
  return op::bind_inputs("the graph", declared, given);
}

// Adds a number for each symbol that has none: different ones, the smallest that leave no length negative.
void choose_open(op::Bindings& bindings, const std::map<std::string, TypeInfo>& types) {
  std::set<std::string> open;
  for (const auto& [name, type] : types) {
    for (const tensor::Dim& dim : type.shape) {
      for (const std::string& symbol : dim.bind(bindings).symbols()) open.insert(symbol);
    }
  }
  for (int64_t first = 2; first < kLargestLength; ++first) {
    op::Bindings chosen = bindings;
    int64_t next = first;
    for (const std::string& symbol : open) chosen.emplace(symbol, next++);
    const bool fits = std::all_of(types.begin(), types.end(), [&](const auto& entry) {
      const tensor::Shape& shape = entry.second.shape;
      return std::all_of(shape.begin(), shape.end(),
                         [&](const tensor::Dim& dim) { return dim.bind(chosen).value() >= 0; });
    });
    if (!fits) continue;
    bindings = std::move(chosen);
    return;
  }
  fail(ErrorCode::unsupported, "no small lengths fit the inputs: say them with --shape");
}

bool is_random(std::string_view op) {
  return op.starts_with("Random") || op == "Bernoulli" || op == "Multinomial";
}

void each_node(const ir::Graph& graph, const std::function<void(const ir::Graph&, const ir::Node&)>& visit) {
  for (const ir::NodeId id : graph.nodes()) {
    visit(graph, graph.node(id));
    ir::each_body(graph.node(id), [&](const std::string&, const ir::Graph& body) { each_node(body, visit); });
  }
}

}  // namespace

GraphRun reference_run(const ir::Graph& graph, const op::RunLimits& limits) {
  return {"the reference executor", [&graph, limits](const GraphData& inputs, const Observe& observe) {
            ir::EvaluateOptions options;
            options.limits = limits;
            if (observe) {
              options.observe = [&](ir::Value value, const tensor::Tensor& tensor) {
                return observe(graph.name(value), tensor);
              };
            }
            return ir::evaluate_data(graph, inputs, options);
          }};
}

GraphRun session_run(std::string what, std::shared_ptr<runtime::GraphSession> session) {
  return {std::move(what), [session](const GraphData& inputs, const Observe& observe) {
            if (!observe) return session->run(inputs);
            bool wanted = true;  // a session runs to its end
            session->set_tap([&](const std::string& name, const tensor::Tensor& value) {
              if (wanted) wanted = observe(name, value);
            });
            struct Untap {
              runtime::GraphSession& session;
              ~Untap() { session.set_tap(nullptr); }
            } untap{*session};
            return session->run(inputs);
          }};
}

GraphData make_graph_inputs(const std::map<std::string, TypeInfo>& types, const GraphData& given, int seed) {
  op::Bindings bindings = bindings_of(types, given);
  choose_open(bindings, types);
  GraphData inputs = given;
  for (const auto& [name, type] : types) {
    if (given.contains(name) || op::is_optional(type)) continue;
    if (!type.is_plain() || type.dtype == DType::string) {
      fail(ErrorCode::unsupported, "input \"{}\" {}: say its lengths with --shape or give it with --input", name,
           op::to_string(type));
    }
    tensor::Dims dims;
    for (const tensor::Dim& dim : type.shape) dims.push_back(dim.bind(bindings).value());
    tensor::Tensor tensor(type.dtype, std::move(dims));
    opt::fill_with_noise(tensor, seed == 0 ? name : fmt::format("{}#{}", name, seed));
    inputs.emplace(name, std::move(tensor));
  }
  return inputs;
}

bool has_length(const std::map<std::string, TypeInfo>& inputs, const std::string& name) {
  return inputs.contains(name) || std::any_of(inputs.begin(), inputs.end(), [&](const auto& input) {
           const tensor::Shape& shape = input.second.shape;
           return std::any_of(shape.begin(), shape.end(),
                              [&](const tensor::Dim& dim) { return dim.to_string() == name; });
         });
}

std::string_view graph_precision(const ir::Graph& graph) {
  static const std::set<std::string_view> kQuantised = {"QuantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul",
                                                        "QLinearConv",    "MatMulInteger",         "ConvInteger"};
  bool quantised = false;
  each_node(graph, [&](const ir::Graph&, const ir::Node& node) { quantised |= kQuantised.contains(node.op); });
  return quantised ? kQuantising : float_precision(graph);
}

std::string_view float_precision(const ir::Graph& graph) {
  bool bf16 = false, f16 = false;
  const auto note = [&](DType dtype) {
    bf16 |= dtype == DType::bf16;
    f16 |= dtype == DType::f16;
  };
  for (const ir::Value input : graph.inputs()) note(graph.type(input).dtype);
  each_node(graph, [&](const ir::Graph& owner, const ir::Node& node) {
    for (const ir::Value output : node.outputs) {
      if (output) note(owner.type(output).dtype);
    }
  });
  if (bf16) return "bf16";
  return f16 ? "f16" : "f32";
}

ir::Graph graph_for_kernels(const ir::Graph& graph) {
  ir::Graph result = graph;
  if (graph_precision(graph) == kQuantising) opt::run_passes(result, opt::quantising_passes(), {});
  return result;
}

void check_repeatable(const ir::Graph& graph) {
  each_node(graph, [](const ir::Graph& owner, const ir::Node& node) {
    if (!is_random(node.op)) return;
    fail(ErrorCode::unsupported, "node \"{}\" ({}) draws random numbers: no two runs of graph {} are the same",
         node.name, node.op, owner.name());
  });
}

}  // namespace lathe::verify
