#include "compiler/stored_matrices.h"

#include <algorithm>

#include "base/numbers.h"

namespace lathe::compiler {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;
using tensor::DType;
using tensor::SourcePtr;

constexpr int64_t kChunk = int64_t{1} << 20;  // elements read at a time; at least 64 rows, for transposed sources

// Calls body(first, count) for runs of rows until it returns false; whether it never did.
template <class Body>
bool for_rows(const tensor::Source& source, Body&& body) {
  const int64_t columns = std::max<int64_t>(source.row_elements(), 1);
  const int64_t step = std::max<int64_t>(kChunk / columns, 64);
  for (int64_t first = 0; first < source.rows(); first += step) {
    if (!body(first, std::min(step, source.rows() - first))) return false;
  }
  return true;
}

// Whether every element of an f32 source is one of `dtype`.
bool is_exact(const tensor::Source& source, DType dtype) {
  std::vector<float> values;
  return for_rows(source, [&](int64_t first, int64_t count) {
    values.resize(size_t(count * source.row_elements()));
    source.read_rows_f32(first, count, values);
    source.drop_rows(first, count);
    return std::all_of(values.begin(), values.end(), [&](float value) {
      const float narrow = dtype == DType::f16 ? f16_to_f32(f32_to_f16(value)) : bf16_to_f32(f32_to_bf16(value));
      return narrow == value;
    });
  });
}

// Whether both store the same bytes.
bool is_same(const tensor::Source& a, const tensor::Source& b) {
  if (a.dims() != b.dims() || a.dtype() != b.dtype() || a.encoding() != b.encoding()) return false;
  std::vector<std::byte> left, right;
  return for_rows(a, [&](int64_t first, int64_t count) {
    left.resize(size_t(count) * a.row_size());
    right.resize(left.size());
    a.read_rows(first, count, left);
    b.read_rows(first, count, right);
    return left == right;
  });
}

}  // namespace

void store_matrices_by_output(Graph& graph) {
  std::map<Value, Value> turned;  // by the matrix as it was
  const std::vector<NodeId> order(graph.nodes().begin(), graph.nodes().end());
  for (const NodeId id : order) {
    const Node node = graph.node(id);
    const bool matrix =
        node.op == "MatMul" && graph.is_constant(node.inputs[1]) && graph.type(node.inputs[1]).shape.size() == 2;
    if (!matrix) continue;
    const auto [it, fresh] = turned.try_emplace(node.inputs[1]);
    if (fresh) {
      const std::string name = graph.source_name(node.inputs[1]) + ".transposed";
      const Value rows = graph.add_constant(name, tensor::transposed_source(graph.source(node.inputs[1])));
      const std::vector<int64_t> perm{1, 0};
      it->second = graph.node(graph.add_node("Transpose", {rows}, {{"perm", perm}}, name, 1, id)).outputs[0];
    }
    graph.set_input(id, 1, it->second);
  }
}

void share_embeddings(Graph& graph) {
  std::vector<Value> tables;
  for (const NodeId id : graph.nodes()) {
    const Node& node = graph.node(id);
    const bool looks_up = node.op == "Gather" && graph.is_constant(node.inputs[0]);
    if (looks_up && graph.source(node.inputs[0])->dims().size() == 2) tables.push_back(node.inputs[0]);
  }
  for (const Value matrix : graph.constants()) {
    const auto users = graph.users(matrix);
    const auto turns = [&](NodeId user) { return graph.node(user).op == "Transpose"; };
    if (users.empty() || !std::all_of(users.begin(), users.end(), turns)) continue;
    const auto same = [&](Value table) { return is_same(*graph.source(table), *graph.source(matrix)); };
    const auto table = std::find_if(tables.begin(), tables.end(), same);
    if (table != tables.end()) graph.replace_uses(matrix, *table);
  }
}

void store_narrow_matrices(Graph& graph, DType dtype, const std::set<std::string>& narrow) {
  for (const Value matrix : graph.constants()) {
    const SourcePtr source = graph.source(matrix);
    const bool wide =
        source->dims().size() == 2 && source->dtype() == DType::f32 && source->encoding() == tensor::Encoding::plain;
    if (!wide || graph.users(matrix).empty()) continue;
    if (!narrow.contains(source->origin()) && !is_exact(*source, dtype)) continue;
    const std::string name = graph.source_name(matrix);
    const Value stored =
        graph.add_constant(name + "." + std::string(tensor::to_string(dtype)), tensor::converted_source(source, dtype));
    const op::Attributes attributes{{"to", int64_t(DType::f32)}};
    const NodeId cast = graph.add_node("Cast", {stored}, attributes, name, 1, graph.nodes()[0]);
    graph.replace_uses(matrix, graph.node(cast).outputs[0]);
  }
}

}  // namespace lathe::compiler
