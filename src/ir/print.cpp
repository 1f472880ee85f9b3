#include "base/error.h"
#include "ir/body.h"
#include "ir/literals.h"

namespace lathe::ir {
namespace {

constexpr int64_t kMaxInlineElements = 16;

std::string operand(const Graph& graph, Value value) {
  return value ? fmt::format("%{}", spelled_name(graph.name(value))) : "_";
}

std::string typed(const Graph& graph, Value value) {
  return fmt::format("{}: {}", operand(graph, value), op::to_string(graph.type(value)));
}

std::string constant_line(const Graph& graph, Value value, const PrintOptions& options) {
  const tensor::Source& source = *graph.source(value);
  const tensor::Tensor* small = prints_inline(graph, value) ? graph.small_constant(value) : nullptr;
  const std::string& added_as = graph.source_name(value);
  std::string text;
  if (!small)
    text = fmt::format("{} {}", spelled_string(added_as), to_string(source.encoding()));
  else if (added_as == graph.name(value) || !options.node_names)
    text = spelled_elements(*small);
  else
    text = fmt::format("{} {}", spelled_elements(*small), spelled_string(added_as));
  return fmt::format("  const {} = {}\n", typed(graph, value), text);
}

std::string indented(std::string text) {
  for (size_t at = text.find('\n'); at != std::string::npos && at + 1 < text.size(); at = text.find('\n', at + 1)) {
    text.insert(at + 1, "  ");  // strings hold no line ends, so that every one of them ends a line
  }
  return text;
}

std::string attribute_text(const op::AttributeValue& value, const PrintOptions& options) {
  const auto* body = std::get_if<op::SubgraphPtr>(&value);
  if (!body) return spelled_attribute(value);
  const Graph& graph = graph_of(**body);
  std::string text = options.node_names ? print(graph, options) : print_canonical(graph);
  text.pop_back();  // the last line's end
  return indented(std::move(text));
}

std::string node_line(const Graph& graph, NodeId id, const PrintOptions& options) {
  const Node& node = graph.node(id);
  std::vector<std::string> results, operands, attributes;
  for (const Value output : node.outputs) {
    results.push_back(output && options.types ? typed(graph, output) : operand(graph, output));
  }
  for (const Value input : node.inputs) operands.push_back(operand(graph, input));
  for (const auto& [name, value] : node.attributes) {
    attributes.push_back(fmt::format("{} = {}", spelled_name(name), attribute_text(value, options)));
  }
  std::string line =
      fmt::format("  {} = {}({})", fmt::join(results, ", "), node.op, fmt::join(operands, ", "));
  if (!attributes.empty()) line += fmt::format(" {{{}}}", fmt::join(attributes, ", "));
  if (options.node_names && !node.name.empty()) line += fmt::format(" {}", spelled_string(node.name));
  return line + "\n";
}

}  // namespace

bool prints_inline(const Graph& graph, Value constant) {
  return tensor::element_count(graph.source(constant)->dims()) <= kMaxInlineElements &&
         graph.small_constant(constant) != nullptr;
}

std::string print(const Graph& graph, const PrintOptions& options) {
  std::string text = fmt::format("graph {} {{\n", spelled_name(graph.name()));
  for (const Value input : graph.inputs()) text += fmt::format("  input {}\n", typed(graph, input));
  for (const Value constant : graph.constants()) text += constant_line(graph, constant, options);
  for (const NodeId id : graph.nodes()) text += node_line(graph, id, options);
  for (const Value output : graph.outputs()) text += fmt::format("  output {}\n", operand(graph, output));
  return text + "}\n";
}

std::string print_canonical(const Graph& graph) {
  Graph copy = graph;
  std::vector<Value> numbered = copy.constants();
  for (const NodeId id : copy.nodes()) {
    for (const Value output : copy.node(id).outputs) {
      if (output) numbered.push_back(output);
    }
  }
  std::erase_if(numbered, [&](Value value) { return copy.is_output(value); });
  // Two rounds, or a name of the second kind could be taken by a value whose turn comes later.
  for (size_t i = 0; i < numbered.size(); ++i) copy.rename(numbered[i], fmt::format("~{}", i));
  for (size_t i = 0; i < numbered.size(); ++i) copy.rename(numbered[i], fmt::format("r{}", i));
  return print(copy, {.node_names = false});
}

}  // namespace lathe::ir
