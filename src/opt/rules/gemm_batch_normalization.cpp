// BatchNormalization(x W + b) = Gemm(x, W s, (b - mean) s + bias) with s = scale / sqrt(variance + epsilon), for
// constants
#include "opt/channels.h"
#include "opt/linear.h"

namespace lathe::opt {
namespace {

// A product of matrices with constant f32 weights [k, n], or [n, k] if `transposed`, and a bias of one number a column.
struct Product {
  ir::Value x, weights;
  bool transposed = false;
  std::vector<double> bias;
};

// The numbers of a constant of one for each column: a column of numbers would be one for each row.
std::optional<std::vector<double>> row_numbers(const ir::Graph& graph, ir::Value value, size_t columns) {
  const tensor::Dim count{int64_t(columns)};
  const tensor::Shape& shape = graph.type(value).shape;
  const bool is_row = shape == tensor::Shape{count} || shape == tensor::Shape{tensor::Dim(1), count};
  return is_row ? constant_numbers(graph, value) : std::nullopt;
}

std::optional<Product> find_product(const ir::Graph& graph, ir::Value value, size_t columns, RuleContext& context) {
  const ir::Node* gemm = find_producer(graph, value, "Gemm");
  const ir::Node* node = gemm ? gemm : find_producer(graph, value, "MatMul");
  if (!node || graph.type(value).shape.size() != 2 || graph.type(node->inputs[0]).shape.size() != 2)
    return std::nullopt;
  Product product{node->inputs[0], node->inputs[1], false, std::vector<double>(columns, 0.0)};
  if (gemm) {
    const op::Attributes& attributes = gemm->attributes;
    const ir::Value c = gemm->inputs.size() > 2 ? gemm->inputs[2] : ir::Value{};
    const auto numbers = c ? row_numbers(graph, c, columns) : product.bias;
    const bool plain = attributes.get_int("transA", 0) == 0 && attributes.get_float("alpha", 1) == 1 &&
                       attributes.get_float("beta", 1) == 1 && numbers;
    if (!plain) {
      context.miss("the product has factors, or a term that is not one constant a column");
      return std::nullopt;
    }
    product.transposed = attributes.get_int("transB", 0) != 0;
    product.bias = *numbers;
  }
  const ir::Value w = product.weights;
  if (!graph.is_constant(w) || graph.type(w).dtype != tensor::DType::f32 ||
      graph.source(w)->encoding() != tensor::Encoding::plain) {
    context.miss("the weights are not constant f32");
    return std::nullopt;
  }
  if (used_once(graph, value)) return product;
  context.miss("the product is read by others, too");
  return std::nullopt;
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  const auto folded = find_batch_normalization(graph, node);
  if (!folded) return false;
  const auto product = find_product(graph, node.inputs[0], folded->scale.size(), context);
  if (!product) return false;
  tensor::Tensor bias(tensor::DType::f32, {int64_t(folded->scale.size())});
  for (size_t i = 0; i < folded->scale.size(); ++i) {
    bias.data<float>()[i] = float(product->bias[i] * folded->scale[i] + folded->shift[i]);
  }
  const tensor::SourcePtr& w = graph.source(product->weights);
  const tensor::SourcePtr scaled =
      product->transposed ? scaled_rows(w, folded->scale) : scaled_columns(w, folded->scale);
  const std::string name = graph.source_name(product->weights);
  const std::vector<ir::Value> inputs = {product->x, graph.add_constant(name + ".scaled", scaled),
                                         graph.add_constant(name + ".bias.scaled", std::move(bias))};
  op::Attributes attributes;
  if (product->transposed) attributes.set("transB", int64_t{1});
  return replace_with(graph, id, "Gemm", inputs, std::move(attributes));
}

}  // namespace

const Rule& gemm_batch_normalization_rule() {
  static const Rule rule{.name = "gemm_batch_normalization",
                         .roots = {"BatchNormalization"},
                         .apply = apply,
                         .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt
