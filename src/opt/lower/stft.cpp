// STFT(real x, step, window) = Reshape(Transpose(Conv(x, constant frequencies; stride = step))), of frames of a known
// length
#include "op/values.h"
#include "opt/fourier_matrix.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

struct Frames {
  int64_t step, length;
  std::vector<double> window;  // or empty
};

std::optional<Frames> frames_of(const ir::Graph& graph, const ir::Node& node) {
  const op::TypeInfo& x = graph.type(node.inputs[0]);
  if (x.dtype != tensor::DType::f32 || x.shape.size() != 3 || x.shape[2].constant() != 1) return std::nullopt;
  const auto input = [&](size_t i) { return node.inputs.size() > i ? node.inputs[i] : ir::Value{}; };
  const auto step = known_ints(graph, node.inputs[1]);
  if (!step || step->size() != 1 || step->front() < 1) return std::nullopt;
  Frames frames{step->front(), 0, {}};
  if (input(2)) {
    const tensor::Tensor* window = graph.small_constant(input(2));
    if (!window || window->size() < 1) return std::nullopt;
    frames.window = op::load<double>(*window);
    frames.length = window->size();
  }
  if (input(3)) {
    const auto length = known_ints(graph, input(3));
    if (!length || length->size() != 1 || (input(2) && length->front() != frames.length)) return std::nullopt;
    frames.length = length->front();
  }
  return frames;
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto frames = frames_of(graph, node);
  if (!frames) return false;
  const FourierForm form{.length = frames->length,
                         .given = frames->length,
                         .parts = 1,
                         .one_sided = node.attributes.get_int("onesided", 1) != 0};
  const auto matrix = fourier_matrix(form, frames->window);
  if (!matrix) return false;
  const int64_t rows = matrix->dims()[0], columns = matrix->dims()[1];
  tensor::Tensor weights(tensor::DType::f32, {columns, 1, rows});
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      weights.data<float>()[size_t(c * rows + r)] = matrix->data<float>()[size_t(r * columns + c)];
    }
  }
  const auto add = [&](std::string_view op, std::vector<ir::Value> inputs, op::Attributes attributes = {}) {
    return graph.node(graph.add_node(op, std::move(inputs), std::move(attributes), node.name, 1, id)).outputs[0];
  };
  ir::Value x = add("Reshape", {node.inputs[0], constant_ints(graph, {0, 1, -1})});
  x = add("Conv", {x, graph.add_constant(node.name + ".transform", std::move(weights))},
          {{"strides", std::vector<int64_t>{frames->step}}});
  x = add("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  return replace(graph, id, add("Reshape", {x, constant_ints(graph, {0, 0, form.count(), 2})}));
}

}  // namespace

const Rule& stft_lowering() {
  static const Rule rule{.name = "stft", .roots = {"STFT"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
