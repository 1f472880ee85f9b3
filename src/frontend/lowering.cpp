#include "frontend/lowering.h"

#include <array>
#include <cmath>
#include <map>
#include <numbers>

#include "frontend/expansion.h"
#include "frontend/node_bodies.h"
#include "ir/body.h"

namespace lathe::frontend {
namespace {

using ir::Node;
using op::Attributes;
using tensor::DType;

// x^2 spelled as ONNX Runtime's own rewrites know norms by: they make one kernel of what follows.
Value squared(const Builder& b, Value x) {
  return b.node("Pow", {x, b.scalar(2, DType::f32)});
}

// y = x / sqrt(mean(x^2) + epsilon) * scale, computed in f32 (ONNX RMSNormalization-23).
Results expand_rms_normalization(const Expansion& e) {
  const Builder& b = e.b;
  if (e.node.attributes.get_int("axis", -1) != -1) fail(ErrorCode::unsupported, "only axis -1 has an expansion");
  const double epsilon = e.node.attributes.get_float("epsilon", 1e-5);
  const Value x = b.cast(e.inputs[0], DType::f32);
  const Value variance = e.mean(squared(b, x));
  const Value root = b.node("Sqrt", {b.add(variance, b.scalar(epsilon, DType::f32))});
  return {b.mul(b.cast(b.div(x, root), e.type(1).dtype), e.inputs[1])};
}

// y = (x - mean) / sqrt(variance + epsilon) * scale + bias, computed in f32 (ONNX LayerNormalization-17).
Results expand_layer_normalization(const Expansion& e) {
  const Builder& b = e.b;
  if (e.node.attributes.get_int("axis", -1) != -1) fail(ErrorCode::unsupported, "only axis -1 has an expansion");
  if (e.node.outputs.size() > 1) fail(ErrorCode::unsupported, "mean and deviation outputs have no expansion");
  const double epsilon = e.node.attributes.get_float("epsilon", 1e-5);
  const DType dtype = e.type(0).dtype;
  const Value x = b.cast(e.inputs[0], DType::f32);
  const Value centred = b.sub(x, e.mean(x));
  const Value variance = e.mean(squared(b, centred));
  const Value root = b.node("Sqrt", {b.add(variance, b.scalar(epsilon, DType::f32))});
  const Value scaled = b.mul(b.cast(b.div(centred, root), dtype), e.inputs[1]);
  return {e.has(2) ? b.add(scaled, e.inputs[2]) : scaled};
}

// Each group of channels as one channel of InstanceNormalization, then scale and bias of each channel (ONNX
// GroupNormalization-21; the one of opset 18 has scale and bias of each group).
Results expand_group_normalization(const Expansion& e) {
  const Builder& b = e.b;
  const int64_t groups = e.node.attributes.get_int("num_groups", 1);
  const auto fill = [&](float number) {
    const std::vector<float> values(size_t(groups), number);
    return b.cast(b.graph().add_constant("fill", tensor::Tensor::of<float>({groups}, std::span<const float>(values))),
                  e.type(0).dtype);
  };
  const Value grouped = b.reshape(e.inputs[0], {0, groups, -1});
  const Value normed = b.node("InstanceNormalization", {grouped, fill(1), fill(0)},
                              {{"epsilon", e.node.attributes.get_float("epsilon", 1e-5)}});
  const Value back = b.node("Reshape", {normed, b.node("Shape", {e.inputs[0]})});
  std::vector<int64_t> axes;
  for (size_t i = 2; i < e.type(0).shape.size(); ++i) axes.push_back(int64_t(i) - 1);
  return {b.add(b.mul(back, b.unsqueeze(e.inputs[1], axes)), b.unsqueeze(e.inputs[2], axes))};
}

// x sigmoid(alpha x) (ONNX Swish-24).
Results expand_swish(const Expansion& e) {
  const double alpha = e.node.attributes.get_float("alpha", 1);
  const Value x = e.inputs[0];
  const Value inner = alpha == 1 ? x : e.b.mul(x, e.b.scalar(alpha, e.type(0).dtype));
  return {e.b.mul(x, e.b.node("Sigmoid", {inner}))};
}

// Exact: x/2 (1 + erf(x / sqrt 2)); tanh form: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (ONNX Gelu-20).
Results expand_gelu(const Expansion& e) {
  const Builder& b = e.b;
  const DType dtype = e.type(0).dtype;
  const Value x = e.inputs[0];
  Value inner;
  if (e.node.attributes.get_string("approximate", "none") == "tanh") {
    const Value cubed = b.mul(b.mul(x, x), x);
    const Value sum = b.add(x, b.mul(cubed, b.scalar(0.044715, dtype)));
    inner = b.node("Tanh", {b.mul(sum, b.scalar(std::sqrt(2 / std::numbers::pi), dtype))});
  } else {
    inner = b.node("Erf", {b.mul(x, b.scalar(std::numbers::sqrt2 / 2, dtype))});
  }
  return {b.mul(b.mul(x, b.scalar(0.5, dtype)), b.add(inner, b.scalar(1, dtype)))};
}

// Rotation of the leading dimensions of each head (ONNX RotaryEmbedding-23), cos and sin given per position.
Results expand_rotary_embedding(const Expansion& e) {
  const Builder& b = e.b;
  if (e.has(3)) fail(ErrorCode::unsupported, "position_ids have no expansion; gather cos and sin first");
  // [batch, sequence, heads x dim], or [batch, heads, sequence, dim], where cos and sin are the same for all heads
  const bool flat = e.type(0).shape.size() == 3;
  const int64_t heads = flat ? e.node.attributes.get_int("num_heads", 0) : 1;
  if (heads <= 0) fail(ErrorCode::unsupported, "num_heads is missing");
  const int64_t width = e.dim(0, -1);
  const int64_t head_dim = width / heads;
  const int64_t rotary = e.node.attributes.get_int("rotary_embedding_dim", 0);
  const int64_t turned = rotary == 0 ? head_dim : rotary;
  const bool interleaved = e.node.attributes.get_int("interleaved", 0) != 0;

  const Value x = flat ? b.reshape(e.inputs[0], {0, 0, heads, head_dim}) : e.inputs[0];
  const Value cos = b.unsqueeze(e.inputs[1], {flat ? 2 : 1});
  const Value sin = b.unsqueeze(e.inputs[2], {flat ? 2 : 1});
  const Value first = interleaved ? b.slice(x, 0, turned, 3, 2) : b.slice(x, 0, turned / 2, 3);
  const Value second = interleaved ? b.slice(x, 1, turned, 3, 2) : b.slice(x, turned / 2, turned, 3);
  const Value real = b.sub(b.mul(first, cos), b.mul(second, sin));
  const Value imaginary = b.add(b.mul(first, sin), b.mul(second, cos));
  std::vector<Value> parts = {real, imaginary};
  if (interleaved) {
    const Value pairs = b.concat({b.unsqueeze(real, {4}), b.unsqueeze(imaginary, {4})}, 4);
    parts = {b.reshape(pairs, {0, 0, flat ? heads : 0, turned})};
  }
  if (turned < head_dim) parts.push_back(b.slice(x, turned, head_dim, 3));
  const Value y = parts.size() == 1 ? parts[0] : b.concat(parts, 3);
  return {flat ? b.reshape(y, {0, 0, width}) : y};
}

// cos and sin of position x frequency, see op/lathe_rotary_table.
Results expand_rotary_table(const Expansion& e) {
  const Builder& b = e.b;
  const Attributes& attributes = e.node.attributes;
  const Value positions = b.cast(e.inputs[0], DType::f32);
  Value frequencies = e.inputs[1];
  if (attributes.has("dynamic_factor")) {
    const double factor = attributes.get_float("dynamic_factor", 1);
    const double trained = attributes.get_float("trained_length", 1);
    const int64_t dims = 2 * e.dim(1, 0);
    std::vector<float> exponents;
    for (int64_t i = 0; i < dims; i += 2) exponents.push_back(float(i) / float(dims));
    const auto constant = [&](double v) { return b.scalar(v, DType::f32); };
    const Value last = b.node("ReduceMax", {positions}, {{"keepdims", int64_t{0}}});
    const Value length = b.node("Max", {b.add(last, constant(1)), constant(trained)});
    const Value growth = b.sub(b.mul(length, constant(factor / trained)), constant(factor - 1));
    const Value base = b.mul(b.node("Pow", {growth, constant(double(dims) / double(dims - 2))}),
                             constant(attributes.get_float("theta", 10000)));
    const Value powers = b.graph().add_constant(
        "rope.exponents", tensor::Tensor::of<float>({dims / 2}, std::span<const float>(exponents)));
    frequencies = b.node("Reciprocal", {b.node("Pow", {base, powers})});
  }
  const Value angles = b.mul(b.unsqueeze(positions, {-1}), frequencies);
  const double scale = attributes.get_float("scale", 1);
  const auto scaled = [&](Value x) { return scale == 1 ? x : b.mul(x, b.scalar(scale, DType::f32)); };
  return {scaled(b.node("Cos", {angles})), scaled(b.node("Sin", {angles}))};
}

// 0 where a query may look (not in the future, not padding), a large negative number elsewhere: finite, so that
// rows of padding stay finite too. See op/lathe_causal_mask.
Results expand_causal_mask(const Expansion& e) {
  const Builder& b = e.b;
  const auto length = [&](Value x) {
    return b.node("Gather", {b.node("Shape", {x}), b.graph().add_constant("axis", tensor::Tensor::scalar<int64_t>(1))},
                  {{"axis", int64_t{0}}});
  };
  const auto range = [&](Value begin, Value end) { return b.node("Range", {begin, end, b.scalar(1, DType::i64)}); };
  const auto dtype = DType(e.node.attributes.get_int("dtype", int64_t(DType::f32)));
  const Value total = length(e.inputs[0]);
  const Value keys = range(b.scalar(0, DType::i64), total);                   // [total]
  const Value queries = range(b.sub(total, length(e.inputs[1])), total);      // [sequence]
  const Value causal = b.node("LessOrEqual", {b.unsqueeze(keys, {0}), b.unsqueeze(queries, {1})});
  const Value real = b.unsqueeze(b.node("Cast", {e.inputs[0]}, {{"to", int64_t(DType::boolean)}}), {1, 2});
  const Value seen = b.node("And", {real, causal});                           // [batch, 1, sequence, total]
  const double hidden = dtype == DType::f16 ? -30000 : -1e30;
  return {b.cast(b.node("Where", {seen, b.scalar(0, DType::f32), b.scalar(hidden, DType::f32)}), dtype)};
}

// For opsets before the operator's own, or before the one that gave it its present meaning.
struct Rule {
  std::string_view op;
  Results (*expand)(const Expansion&);
  int meaning_since = 0;
};

constexpr std::array kRules = {
    Rule{"RMSNormalization", expand_rms_normalization},
    Rule{"LayerNormalization", expand_layer_normalization},
    Rule{"GroupNormalization", expand_group_normalization, 21},
    Rule{"Swish", expand_swish},
    Rule{"Gelu", expand_gelu},
    Rule{"RotaryEmbedding", expand_rotary_embedding},
    Rule{"Attention", expand_attention},
    Rule{"lathe.RotaryTable", expand_rotary_table},
    Rule{"lathe.CausalMask", expand_causal_mask},
};

const Rule* find_rule(std::string_view op) {
  for (const Rule& rule : kRules) {
    if (rule.op == op) return &rule;
  }
  return nullptr;
}

// Of an input of a body: the outer constant that it captures, if it is one.
struct Known {
  std::string name;
  tensor::SourcePtr source;
};

// One graph, and the graphs in its nodes.
class Lowering {
 public:
  Lowering(const ir::Graph& graph, int opset) : graph_(graph), opset_(opset), lowered_(graph.name()) {}

  // Inputs that are `known` become constants, as the importer has them; of the others there is an input each.
  ir::Graph run(const std::vector<Known>& known) {
    for (size_t i = 0; i < graph_.inputs().size(); ++i) {
      const Value input = graph_.inputs()[i];
      const bool constant = i < known.size() && known[i].source;
      mapped_[input] = constant ? lowered_.add_constant(known[i].name, known[i].source)
                                : lowered_.add_input(graph_.name(input), graph_.type(input));
    }
    for (const Value constant : graph_.constants()) {
      mapped_[constant] = lowered_.add_constant(graph_.name(constant), graph_.source(constant));
    }
    for (const ir::NodeId id : graph_.nodes()) {
      const Node& node = graph_.node(id);
      const Results results =
          with_context(fmt::format("node \"{}\" ({})", node.name, node.op), [&] { return lower(node); });
      for (size_t i = 0; i < node.outputs.size(); ++i) {
        if (node.outputs[i]) keep(node.outputs[i], results[i]);
      }
    }
    for (const Value output : graph_.outputs()) lowered_.add_output(mapped_.at(output), graph_.name(output));
    return std::move(lowered_);
  }

 private:
  // Results keep their names: bodies see them by these.
  void keep(Value old, Value result) {
    mapped_[old] = result;
    if (lowered_.kind(result) == ir::ValueKind::result) lowered_.rename(result, graph_.name(old));
  }

  Results lower(const Node& node) {
    std::vector<Value> inputs;
    for (const Value input : node.inputs) inputs.push_back(input ? mapped_.at(input) : Value{});
    const Rule* rule = find_rule(node.op);
    const op::OpDef& def = op::get_op(node.op);
    if (rule && (opset_ < std::max(def.since, rule->meaning_since) || node.op.starts_with("lathe."))) {
      return rule->expand({Builder(lowered_, node.name), node, std::move(inputs)});
    }
    if (node.op != "lathe.Contrib") op::check_opset(def, inputs.size(), node.attributes, opset_);
    if (node.op == "Attention") fill_mask(node, inputs);
    Attributes attributes = node.attributes;
    lower_bodies(bodies_of(node), inputs, attributes);
    const ir::NodeId copy =
        lowered_.add_node(node.op, std::move(inputs), std::move(attributes), node.name, int(node.outputs.size()));
    return lowered_.node(copy).outputs;
  }

  // Layers share a mask.
  void fill_mask(const Node& node, std::vector<Value>& inputs) {
    if (inputs.size() < 4 || !inputs[3]) return;
    const Value mask = inputs[3];
    const auto key = std::pair(mask, tensor::to_string(lowered_.type(inputs[0]).shape));
    const auto known = masks_.find(key);
    const Value full = known != masks_.end() ? known->second : full_mask({Builder(lowered_, node.name), node, inputs});
    masks_[key] = full;
    if (full) inputs[3] = full;
  }

  // From the last one on, so that the inputs of those before stay where they are.
  void lower_bodies(const NodeBodies& node, std::vector<Value>& inputs, Attributes& attributes) {
    int64_t gone = 0;
    for (auto body = node.bodies.rbegin(); body != node.bodies.rend(); ++body) {
      std::vector<Known> known(body->graph->inputs().size());
      for (size_t i = body->captures(); i-- > 0;) {
        const auto at = inputs.begin() + std::ptrdiff_t(body->first_capture + i);
        if (!lowered_.is_constant(*at)) continue;
        known[body->formal + i] = {lowered_.source_name(*at), lowered_.source(*at)};
        inputs.erase(at);
        ++gone;
      }
      attributes.set(body->attribute, with_context(fmt::format("attribute \"{}\"", body->attribute), [&] {
                       return std::make_shared<const ir::Body>(Lowering(*body->graph, opset_).run(known));
                     }));
    }
    const auto captures = attributes.find_int("num_captures");
    if (captures) attributes.set("num_captures", *captures - gone);
  }

  const ir::Graph& graph_;
  const int opset_;
  ir::Graph lowered_;
  std::map<Value, Value> mapped_;  // old -> new
  std::map<std::pair<Value, std::string>, Value> masks_;  // with a row for each query, by the type of queries
};

}  // namespace

ir::Graph lower_to_opset(const ir::Graph& graph, int opset) {
  return Lowering(graph, opset).run({});
}

}  // namespace lathe::frontend
