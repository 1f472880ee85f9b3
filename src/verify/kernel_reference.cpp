#include "verify/kernel_reference.h"

#include "base/error.h"
#include "compiler/graph_build.h"
#include "verify/graph_runs.h"

namespace lathe::verify {
namespace {

opt::ProductRounding rounding_of(const plan::Instruction& instruction) {
  if (instruction.op != "lathe.Conv" && instruction.op != "lathe.Linear") return {};
  return {.x = instruction.attributes.get_string("compute", "f32"),
          .weights = instruction.attributes.get_string("weights", "f32")};
}

}  // namespace

KernelReference kernel_reference(const ir::Graph& original, const plan::GraphModel& model) {
  const std::string own(graph_precision(original));
  const bool quantises = own == kQuantising;
  KernelReference reference{.graph = ir::Graph(),
                            .precision = own,
                            .band = quantises ? std::string(float_precision(original)) : own,
                            .forced = quantises};
  for (const plan::Instruction& instruction : model.plan.instructions) {
    const opt::ProductRounding rounding = rounding_of(instruction);
    if (rounding.none()) continue;
    if (!reference.rounded) {
      reference.graph = original;
      compiler::optimise_graph(reference.graph, {});
      compiler::lower_graph(reference.graph, {});
      reference.rounded = true;
    }
    const std::string& name = model.plan.values[size_t(instruction.outputs.at(0).index)].name;
    const auto value = reference.graph.find(name);
    const ir::NodeId product = value ? reference.graph.producer(*value) : ir::NodeId{};
    if (!product || reference.graph.node(product).op != instruction.op) {
      fail(ErrorCode::unsupported,
           "\"{}\": the graph has no such product when it is compiled by all passes, so nothing says where to round",
           name);
    }
    opt::round_product(reference.graph, product, rounding);
    reference.forced |= rounding.x != "f32";
    if (!quantises) reference.precision = rounding.weights;
  }
  if (!reference.rounded) reference.graph = graph_for_kernels(original);
  return reference;
}

}  // namespace lathe::verify
