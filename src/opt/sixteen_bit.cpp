#include "opt/sixteen_bit.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "opt/half_range.h"
#include "opt/match.h"
#include "opt/pass.h"

namespace lathe::opt {
namespace {

using ir::Node;
using ir::NodeId;
using ir::Value;
using tensor::DType;

struct TypeRow {
  std::string_view op;
  int opset;  // from which on
  uint32_t f16_inputs, f16_outputs, bf16_inputs, bf16_outputs;
};
constexpr TypeRow kRows[] = {
#include "opt/sixteen_bit_types.inc"
};

// Which parameters of an operator may be of the type.
struct Allowed {
  uint32_t inputs = 0, outputs = 0;
  static bool has(uint32_t bits, size_t i) {
    constexpr uint32_t kRest = 1u << 31;
    return i < 31 && (bits >> i & 1) != 0 ? true : (bits & kRest) != 0;
  }
};

Allowed allowed(std::string_view op, DType type, int opset) {
  Allowed result;
  for (const TypeRow& row : kRows) {
    if (row.op != op || row.opset > opset) continue;
    result = type == DType::f16 ? Allowed{row.f16_inputs, row.f16_outputs} : Allowed{row.bf16_inputs, row.bf16_outputs};
  }
  return result;
}

template <size_t N>
bool is_one_of(std::string_view op, const std::string_view (&list)[N]) {
  return std::find(std::begin(list), std::end(list), op) != std::end(list);
}

// The numbers of the result are numbers of the inputs.
bool only_moves(std::string_view op) {
  static constexpr std::string_view kMoves[] = {
      "Concat",  "DepthToSpace", "Expand",  "Flatten",      "Gather", "GatherElements", "GatherND", "Identity",
      "Reshape", "Slice",        "Split",   "SpaceToDepth", "Squeeze", "Tile",          "Transpose", "Unsqueeze"};
  return is_one_of(op, kMoves);
}

// The result is made of sums and products of the inputs, or moves them.
bool combines(std::string_view op) {
  static constexpr std::string_view kOps[] = {"Add", "Div", "Einsum", "MatMul", "Mul", "Neg", "Sub"};
  return is_one_of(op, kOps) || only_moves(op);
}

// Why a node stays as it is whatever it computes; empty where it need not.
std::string reason_of_kind(const ir::Graph& graph, const Node& node) {
  static constexpr std::string_view kQuantise[] = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
                                                   "QLinearMatMul", "QLinearConv"};
  static constexpr std::string_view kRandom[] = {"Bernoulli",    "Dropout",       "Multinomial",      "RandomNormal",
                                                 "RandomUniform", "RandomNormalLike", "RandomUniformLike"};
  if (is_one_of(node.op, kQuantise)) return "it quantises";
  if (is_one_of(node.op, kRandom)) return "it draws random numbers";
  for (const auto& [name, value] : node.attributes) {
    if (std::holds_alternative<op::SubgraphPtr>(value)) return "it holds a graph";
  }
  for (const auto* values : {&node.inputs, &node.outputs}) {
    for (const Value value : *values) {
      if (value && !graph.type(value).is_plain()) {
        return fmt::format("\"{}\" is {}", graph.name(value), op::to_string(graph.type(value)));
      }
    }
  }
  return "";
}

class Converter {
 public:
  Converter(ir::Graph& graph, const SixteenBitOptions& options, bool simulate)
      : graph_(graph), options_(options), simulate_(simulate) {}

  std::vector<SixteenBitPlace> run() {
    const std::vector<NodeId> nodes(graph_.nodes().begin(), graph_.nodes().end());
    find_counts(nodes);
    find_angles(nodes);
    for (const NodeId id : nodes) visit(id);
    for (const auto& [name, reason] : options_.keep) {
      if (!found_.contains(name))
        fail(ErrorCode::usage, "--keep {}: no node that computes with f32 is called so", name);
    }
    for (const NodeId cast : casts_) {
      if (graph_.contains(cast)) erase_if_dead(graph_, cast);
    }
    return std::move(places_);
  }

 private:
  bool is_f32(Value value) const {
    return value && graph_.type(value).is_plain() && graph_.type(value).dtype == DType::f32;
  }

  // Results that are whole numbers, or sums and products of them, and the nodes that compute them.
  void find_counts(const std::vector<NodeId>& nodes) {
    for (const NodeId id : nodes) {
      const Node& node = graph_.node(id);
      if (!is_f32(node.outputs[0])) continue;
      const bool from_integers = node.op == "Cast" && node.inputs[0] && graph_.type(node.inputs[0]).is_plain() &&
                                 tensor::is_integer(graph_.type(node.inputs[0]).dtype);
      if (from_integers || (combines(node.op) && all_counts(node))) counts_.insert(node.outputs[0]);
    }
  }

  // Of f32 inputs; constants alone make none.
  bool all_counts(const Node& node) const {
    bool any = false;
    for (const Value input : node.inputs) {
      if (!is_f32(input) || graph_.is_constant(input)) continue;
      if (!counts_.contains(input)) return false;
      any = true;
    }
    return any;
  }

  // What leads from inputs of the graph, and nothing but sums and products, to the argument of a sine.
  void find_angles(const std::vector<NodeId>& nodes) {
    for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) {
      const Node& node = graph_.node(*it);
      const bool turns = node.op == "Sin" || node.op == "Cos";
      if (!turns && !(is_f32(node.outputs[0]) && angles_.contains(node.outputs[0]))) continue;
      if (turns && !is_from_inputs(node.inputs[0])) continue;
      angles_.insert(node.outputs[0]);
      if (!turns && !combines(node.op)) continue;
      for (const Value input : node.inputs) {
        if (is_f32(input)) angles_.insert(input);
      }
    }
  }

  bool is_from_inputs(Value value) {
    const auto known = from_inputs_.find(value);
    if (known != from_inputs_.end()) return known->second;
    const NodeId id = graph_.producer(value);
    bool result = !id || graph_.node(id).op == "Cast" || !is_f32(value);
    if (!result && combines(graph_.node(id).op)) {
      const std::vector<Value> inputs = graph_.node(id).inputs;
      result = std::all_of(inputs.begin(), inputs.end(), [&](Value input) { return !input || is_from_inputs(input); });
    }
    return from_inputs_[value] = result;
  }

  void visit(NodeId id) {
    const Node node = graph_.node(id);
    const Allowed types = allowed(node.op, options_.type, options_.opset);
    if (node.op == "Cast" || node.op == "CastLike") return;
    if (node.op == "Shape" || node.op == "Size") return read_lengths(id);
    const bool reads = std::any_of(node.inputs.begin(), node.inputs.end(), [&](Value v) { return is_f32(v); });
    if (!reads) return;
    if (only_moves(node.op)) {
      // Results that stay in f32 do so here; constants are a matter of their own.
      if (!moves_narrow(node)) return;
      const bool constants = std::any_of(node.inputs.begin(), node.inputs.end(),
                                         [&](Value v) { return is_f32(v) && graph_.is_constant(v); });
      if (!constants) {
        if (reason_to_keep(node, types).empty()) convert(id, types);
        return;
      }
    }
    const std::string reason = reason_to_keep(node, types);
    const std::string value = graph_.name(node.outputs[0]);
    places_.push_back({node.name.empty() ? value : node.name, value, node.op, reason});
    if (reason.empty()) convert(id, types);
  }

  // Lengths are the same of the value that is there already: nothing is cast to be measured.
  void read_lengths(NodeId id) {
    const auto known = narrow_.find(graph_.node(id).inputs[0]);
    if (!simulate_ && known != narrow_.end() && known->second) graph_.set_input(id, 0, known->second);
  }

  // All f32 that is moved was computed in 16 bits, or is constant.
  bool moves_narrow(const Node& node) const {
    return std::all_of(node.inputs.begin(), node.inputs.end(),
                       [&](Value v) { return !is_f32(v) || graph_.is_constant(v) || computed_.contains(v); });
  }

  std::string reason_to_keep(const Node& node, const Allowed& types) {
    const auto asked = [&](const std::string& name) {
      const auto it = options_.keep.find(name);
      if (it == options_.keep.end()) return std::string();
      found_.insert(name);
      return it->second;
    };
    std::string by_value;
    for (const Value output : node.outputs) {
      if (output && by_value.empty()) by_value = asked(graph_.name(output));
    }
    if (const std::string by_name = asked(node.name); !by_name.empty()) return by_name;
    if (!by_value.empty()) return by_value;
    if (std::string kind = reason_of_kind(graph_, node); !kind.empty()) return kind;
    if (!is_f32(node.outputs[0])) {
      return fmt::format("its result is {}, which rounding would change as a whole",
                         op::to_string(graph_.type(node.outputs[0])));
    }
    if (counts_.contains(node.outputs[0])) return "it computes with whole numbers, of which 16 bits hold few";
    if (angles_.contains(node.outputs[0])) return "it gives the argument of a sine, or the sine";
    bool any = false;
    for (size_t i = 0; i < node.inputs.size(); ++i)
      any = any || (is_f32(node.inputs[i]) && Allowed::has(types.inputs, i));
    if (!any) return fmt::format("opset {} has no {} of {}", options_.opset, node.op, to_string(options_.type));
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Value input = node.inputs[i];
      if (!is_f32(input) || !graph_.is_constant(input) || !Allowed::has(types.inputs, i)) continue;
      const std::string& refusal = refusal_of_constant(input);
      if (!refusal.empty()) return refusal;
    }
    return "";
  }

  const std::string& refusal_of_constant(Value constant) {
    const tensor::SourcePtr& source = graph_.source(constant);
    const auto [it, is_new] = options_.refusals->try_emplace(source);
    if (is_new) it->second = refusal_of(*source, options_.type).value_or("");
    return it->second;
  }

  void convert(NodeId id, const Allowed& types) {
    const Node node = graph_.node(id);
    std::vector<Value> inputs = node.inputs;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (is_f32(inputs[i]) && Allowed::has(types.inputs, i)) inputs[i] = narrowed(inputs[i], id);
    }
    const NodeId made = graph_.add_node(node.op, inputs, node.attributes, node.name, int(node.outputs.size()), id);
    const std::vector<Value> results = graph_.node(made).outputs;
    std::vector<std::pair<Value, std::string>> names;  // that results take over
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (!node.outputs[i]) continue;
      const bool narrow = is_f32(node.outputs[i]) && Allowed::has(types.outputs, i);
      const Value now = narrow ? widened(results[i], id) : results[i];
      names.emplace_back(now, graph_.name(node.outputs[i]));
      graph_.replace_uses(node.outputs[i], now);
    }
    graph_.erase(id);
    for (const auto& [value, name] : names) {
      if (!graph_.is_output(value)) graph_.rename(value, name);  // an output's name moved with it
    }
  }

  // `value` as a node in 16 bits reads it, before node `at`.
  Value narrowed(Value value, NodeId at) {
    const auto known = narrow_.find(value);
    if (known != narrow_.end() && known->second) return known->second;
    Value result;
    if (graph_.is_constant(value)) {
      tensor::SourcePtr source = tensor::converted_source(graph_.source(value), options_.type);
      if (simulate_) source = tensor::converted_source(std::move(source), DType::f32);
      result = graph_.add_constant(fmt::format("{}.{}", graph_.source_name(value), to_string(options_.type)),
                                   std::move(source));
    } else {
      result = cast(value, options_.type, at);
      if (simulate_) result = cast(result, DType::f32, at);
    }
    narrow_[value] = result;
    return result;
  }

  // The f32 value of a result, which others read; `at` as above.
  Value widened(Value result, NodeId at) {
    Value wide = simulate_ ? cast(cast(result, options_.type, at), DType::f32, at) : cast(result, DType::f32, at);
    narrow_[wide] = simulate_ ? Value{} : result;  // simulated: rounded again where it is read, it may be replaced
    computed_.insert(wide);
    return wide;
  }

  Value cast(Value value, DType to, NodeId at) {
    const NodeId id = graph_.add_node("Cast", {value}, {{"to", int64_t(to)}}, graph_.name(value), 1, at);
    casts_.push_back(id);
    return graph_.node(id).outputs[0];
  }

  ir::Graph& graph_;
  const SixteenBitOptions& options_;
  bool simulate_;
  std::vector<SixteenBitPlace> places_;
  std::set<Value> counts_, angles_;
  std::map<Value, bool> from_inputs_;
  std::set<Value> computed_;       // f32 values of results in 16 bits
  std::map<Value, Value> narrow_;  // f32 value -> what stands for it in 16 bits; absent: to be made
  std::set<std::string, std::less<>> found_;  // names of `keep`
  std::vector<NodeId> casts_;
};

}  // namespace

std::vector<SixteenBitPlace> to_sixteen_bits(ir::Graph& graph, const SixteenBitOptions& options) {
  return Converter(graph, options, false).run();
}

std::vector<SixteenBitPlace> round_to_sixteen_bits(ir::Graph& graph, const SixteenBitOptions& options) {
  return Converter(graph, options, true).run();
}

}  // namespace lathe::opt
