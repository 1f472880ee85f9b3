// MatMul(x, DequantizeLinear(W)) = lathe.BlockLinear(x, W', scales, zeros), for floats x and a constant matrix W of 4-
// or 8-bit integers with scales for all, for each column, or for blocks of the rows that are summed over; W as it is or
// transposed; the same of Gemm without factors, its bias added behind
#include "opt/linear.h"
#include "opt/quantized.h"
#include "tensor/source.h"

namespace lathe::opt {
namespace {

using tensor::DType;
using tensor::Tensor;

// DequantizeLinear of a constant matrix, and which of its axes is summed over.
struct Weights {
  ir::Node node;
  size_t summed;
};

std::optional<Weights> find_weights(const ir::Graph& graph, ir::Value value, bool transposed) {
  const ir::Node* node = find_producer(graph, value, "Transpose");
  if (node && permutation(graph, *node) == std::vector<int64_t>{1, 0}) {
    value = node->inputs[0];
    transposed = !transposed;
  }
  node = find_producer(graph, value, "DequantizeLinear");
  if (!node || graph.type(value).dtype != DType::f32 || graph.type(value).shape.size() != 2) return std::nullopt;
  for (const ir::Value input : node->inputs) {
    if (!input) continue;
    if (!graph.is_constant(input) || graph.source(input)->encoding() != tensor::Encoding::plain) return std::nullopt;
  }
  const DType codes = graph.type(node->inputs[0]).dtype;
  if (codes != DType::i4 && codes != DType::u4 && codes != DType::i8 && codes != DType::u8) return std::nullopt;
  return Weights{*node, transposed ? size_t{1} : size_t{0}};
}

// [rows, columns] and its transpose, elements of whole bytes or of halves, two a byte.
Tensor transposed_codes(const Tensor& from) {
  const int64_t rows = from.dims()[0], columns = from.dims()[1];
  Tensor to(from.dtype(), {columns, rows});
  const std::span<const std::byte> in = from.bytes();
  const std::span<std::byte> out = to.mutable_bytes();
  const bool halves = tensor::bits(from.dtype()) == 4;
  std::fill(out.begin(), out.end(), std::byte{0});
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const auto i = size_t(r * columns + c), o = size_t(c * rows + r);
      if (halves)
        out[o / 2] |= (in[i / 2] >> (i % 2 * 4) & std::byte{15}) << (o % 2 * 4);
      else
        out[o] = in[i];
    }
  }
  return to;
}

// Scales or zeros as f32 [N, blocks].
std::optional<Tensor> by_block(const ir::Graph& graph, ir::Value value, const Weights& w, int64_t outputs,
                               int64_t blocks) {
  const auto numbers = number_list(graph, value);
  if (!numbers) return std::nullopt;
  const bool one = numbers->size() == 1;
  if (!one && int64_t(numbers->size()) != outputs * blocks) return std::nullopt;
  Tensor result(DType::f32, {outputs, blocks});
  for (int64_t n = 0; n < outputs; ++n) {
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t at = w.summed == 1 ? n * blocks + b : b * outputs + n;
      result.data<float>()[size_t(n * blocks + b)] = float((*numbers)[one ? 0 : size_t(at)]);
    }
  }
  return result;
}

// Columns of a block; 0 for scales that a block of columns does not share.
int64_t block_of(const ir::Graph& graph, const Weights& w, int64_t columns) {
  const ir::Node& node = w.node;
  if (tensor::element_count(graph.type(node.inputs[1]).shape) == tensor::Dim(1)) return columns;
  int64_t axis = node.attributes.get_int("axis", 1);
  if (axis < 0) axis += 2;
  const int64_t block = node.attributes.get_int("block_size", 0);
  if (block == 0) return size_t(axis) == w.summed ? 0 : columns;
  return size_t(axis) == w.summed ? block : 0;
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const op::Attributes& attributes = node.attributes;
  const bool transposed = node.op == "Gemm" && attributes.get_int("transB", 0) != 0;
  if (node.op == "Gemm") {
    if (attributes.get_int("transA", 0) != 0 || attributes.get_float("alpha", 1) != 1) return false;
    if (node.inputs.size() > 2 && node.inputs[2] && attributes.get_float("beta", 1) != 1) return false;
  }
  const auto w = find_weights(graph, node.inputs[1], transposed);
  if (!w || graph.type(node.inputs[0]).dtype != DType::f32 || graph.is_constant(node.inputs[0])) return false;
  const bool bytes = find_dequantized_bytes(graph, node.inputs[0]).has_value();
  if (bytes && find_dequantized_weights(graph, node.inputs[1], transposed ? 0 : 1)) return false;  // lathe.QLinear
  const tensor::SourcePtr source = graph.source(w->node.inputs[0]);
  const int64_t columns = source->dims()[w->summed], outputs = source->dims()[1 - w->summed];
  const int64_t block = block_of(graph, *w, columns);
  const bool halves = tensor::bits(source->dtype()) == 4;
  if (block < 1 || columns == 0 || outputs == 0) return false;
  if (halves && (columns % 2 != 0 || (block % 2 != 0 && block < columns))) return false;
  const int64_t blocks = (columns + block - 1) / block;
  auto scales = by_block(graph, w->node.inputs[1], *w, outputs, blocks);
  const bool has_zeros = w->node.inputs.size() > 2 && w->node.inputs[2];
  auto zeros = has_zeros ? by_block(graph, w->node.inputs[2], *w, outputs, blocks) : std::nullopt;
  if (!scales || (has_zeros && !zeros)) return false;
  const std::string name = graph.source_name(w->node.inputs[0]);
  ir::Value codes = w->node.inputs[0];
  if (w->summed == 0) codes = graph.add_constant(name + ".transposed", transposed_codes(tensor::load(*source)));
  std::vector<ir::Value> inputs = {node.inputs[0], codes, graph.add_constant(name + ".scales", *std::move(scales))};
  if (zeros) inputs.push_back(graph.add_constant(name + ".zeros", *std::move(zeros)));
  op::Attributes result;
  result.set("block_size", block);
  if (node.inputs.size() < 3 || !node.inputs[2]) {
    return replace_with(graph, id, "lathe.BlockLinear", std::move(inputs), std::move(result));
  }
  const ir::NodeId product =
      graph.add_node("lathe.BlockLinear", std::move(inputs), std::move(result), node.name, 1, id);
  return replace_with(graph, id, "Add", {graph.node(product).outputs[0], node.inputs[2]}, {});
}

}  // namespace

const Rule& q_block_linear_lowering() {
  static const Rule rule{.name = "q_block_linear", .roots = {"Gemm", "MatMul"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
