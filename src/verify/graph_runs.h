// The ways to run a graph on the same inputs, and the inputs: what two runs are compared on.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "ir/graph.h"
#include "runtime/graph_session.h"

namespace lathe::verify {

using GraphData = std::map<std::string, op::Datum>;

// Called with each result that is a tensor; false: that was all that is wanted, the run may end.
using Observe = std::function<bool(const std::string& name, const tensor::Tensor& value)>;

// One way to run one graph. Results hold until the next call.
struct GraphRun {
  std::string what;  // "compiled, avx2", "the reference executor"
  std::function<GraphData(const GraphData& inputs, const Observe& observe)> call;  // observe may be empty
};

// On the reference executor. The graph must outlive it.
GraphRun reference_run(const ir::Graph& graph, const op::RunLimits& limits = {});
// In a session, which it owns. `what` as given.
GraphRun session_run(std::string what, std::shared_ptr<runtime::GraphSession> session);

// Inputs of these types where `given` has none: floats in [-1, 1), integers and booleans 0 or 1, a function of name and
// seed alone; symbols that are still open get different small numbers. Optional inputs stay away. Throws unsupported
// naming the input whose type leaves too much open.
GraphData make_graph_inputs(const std::map<std::string, op::TypeInfo>& types, const GraphData& given, int seed);

// Whether a graph with these inputs knows the name: as an input or as a symbol of one's lengths.
bool has_length(const std::map<std::string, op::TypeInfo>& inputs, const std::string& name);

// The widest of the element types and roundings in the graph, as bands.h names them: "bf16", "f16", "i8" (it
// quantises), else "f32".
std::string_view graph_precision(const ir::Graph& graph);
inline constexpr std::string_view kQuantising = "i8";
// The same of its floats alone.
std::string_view float_precision(const ir::Graph& graph);

// The graph as kernels are held to it: where it quantises, with its quantised operators on integers as compiled graphs
// have them. Rules decide where a value is rounded, and one step of one byte would spread through all that follows;
// kernels then have to give the same bytes.
ir::Graph graph_for_kernels(const ir::Graph& graph);

// Throws unsupported naming a node that draws random numbers: no two runs of it give the same.
void check_repeatable(const ir::Graph& graph);

}  // namespace lathe::verify
