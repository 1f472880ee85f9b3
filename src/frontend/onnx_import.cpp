#include "frontend/onnx_import.h"

#include <set>

#include "base/error.h"
#include "frontend/onnx_types.h"
#include "frontend/onnx_upgrade.h"
#include "ir/body.h"

namespace lathe::frontend {
namespace {

using io::OnnxAttribute;
using io::OnnxAttributeType;
using io::OnnxNode;
using ir::Value;

constexpr int64_t kNewestImportOpset = 27;
constexpr int kMaxFunctionDepth = 64;

bool is_standard(const std::string& domain) {
  return domain.empty() || domain == "ai.onnx";
}

// As our operators are called: "Add", "ai.onnx.ml.LabelEncoder".
std::string op_name(const OnnxNode& node) {
  return is_standard(node.domain) ? node.op_type : node.domain + "." + node.op_type;
}

using FunctionKey = std::array<std::string, 3>;  // domain, name, overload
FunctionKey key_of(const std::string& domain, const std::string& name, const std::string& overload) {
  return {is_standard(domain) ? "" : domain, name, overload};
}

// One graph that is being built. A body looks for what it does not define in the graph around it.
struct Builder {
  explicit Builder(std::string name) : graph(std::move(name)) {}

  ir::Graph graph;
  std::vector<Value> captured;  // values of the graph around, in the order of this graph's last inputs
};

// Where nodes stand: in which graph, among which names, under which opsets, with which attributes of a function call.
struct Place {
  Builder& builder;
  std::map<std::string, Value, std::less<>> values;
  Place* around = nullptr;  // of a body
  const std::vector<io::OnnxOpset>& opsets;
  const std::map<std::string, const OnnxAttribute*, std::less<>>* arguments = nullptr;  // nullptr: not in a function
  int function_depth = 0;
};

class Importer {
 public:
  explicit Importer(std::shared_ptr<const io::OnnxFile> file) : file_(std::move(file)) {
    for (const io::OnnxFunction& function : file_->model().functions) {
      functions_[key_of(function.domain, function.name, function.overload)] = &function;
    }
  }

  ir::Graph run() {
    const io::OnnxModel& model = file_->model();
    check_known(model);
    Builder builder("main");
    Place place{.builder = builder, .values = {}, .around = nullptr, .opsets = model.opsets};
    add_initializers(model.graph, place);
    for (const io::OnnxValueInfo& input : model.graph.inputs) {
      if (place.values.contains(input.name)) continue;  // an initializer that is an input, too, is a default
      if (!input.type) fail(ErrorCode::invalid_input, "input \"{}\" has no type", input.name);
      define(place, input.name, builder.graph.add_input(input.name, declared(input)));
    }
    add_nodes(model.graph.nodes, place);
    for (const io::OnnxValueInfo& output : model.graph.outputs) {
      builder.graph.add_output(value_of(output.name, place), output.name);
    }
    return std::move(builder.graph);
  }

 private:
  // All nodes whose operator is unknown, at once.
  void check_known(const io::OnnxModel& model) const {
    std::map<std::string, std::set<std::string>> unknown;
    const auto look = [&](const std::vector<OnnxNode>& nodes) {
      for (const OnnxNode& node : nodes) {
        const bool ours = node.op_type.starts_with("lathe.") || node.domain.starts_with("lathe");
        if (functions_.contains(key_of(node.domain, node.op_type, node.overload))) continue;
        if (!ours && (op::find_op(op_name(node)) || has_upgrade(node))) continue;
        unknown[op_name(node)].insert(node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name);
      }
    };
    io::each_graph(model, [&](const io::OnnxGraph& graph) { look(graph.nodes); });
    for (const io::OnnxFunction& function : model.functions) look(function.nodes);
    if (unknown.empty()) return;
    std::vector<std::string> texts;
    for (const auto& [op, nodes] : unknown) texts.push_back(fmt::format("{} ({})", op, fmt::join(nodes, ", ")));
    fail(ErrorCode::unsupported, "no operator named {}", fmt::join(texts, "; "));
  }

  // Operators that only older opsets have.
  static bool has_upgrade(const OnnxNode& node) {
    return is_standard(node.domain) && (node.op_type == "Upsample" || node.op_type == "Scatter");
  }

  static int64_t opset_of(const std::string& domain, const Place& place) {
    for (const io::OnnxOpset& opset : place.opsets) {
      if (opset.domain == domain || (is_standard(domain) && is_standard(opset.domain))) return opset.version;
    }
    fail(ErrorCode::invalid_input, "domain \"{}\" is not imported", domain);
  }

  op::TypeInfo declared(const io::OnnxValueInfo& value) {
    return with_context(fmt::format("\"{}\"", value.name), [&] { return type_of(*value.type, unknown_); });
  }

  static void define(Place& place, const std::string& name, Value value) {
    if (!place.values.emplace(name, value).second) {
      fail(ErrorCode::invalid_input, "value \"{}\" is defined twice", name);
    }
  }

  void add_initializers(const io::OnnxGraph& from, Place& place) {
    for (const io::OnnxTensor& tensor : from.initializers) {
      const bool text = tensor.data_type == int32_t(tensor::DType::string);
      ir::Graph& graph = place.builder.graph;
      define(place, tensor.name,
             text ? graph.add_constant(tensor.name, file_->load(tensor))
                  : graph.add_constant(tensor.name, file_->tensor_source(tensor)));
    }
    for (const io::OnnxSparseTensor& sparse : from.sparse_initializers) {
      define(place, sparse.values.name, place.builder.graph.add_constant(sparse.values.name, dense(sparse, *file_)));
    }
  }

  // A name here or around; what is found around becomes an input of this body, or a constant of its own.
  std::optional<Value> find(const std::string& name, Place& place) {
    const auto it = place.values.find(name);
    if (it != place.values.end()) return it->second;
    if (!place.around) return std::nullopt;
    const auto outer = find(name, *place.around);
    if (!outer || !*outer) return outer;
    const ir::Graph& around = place.around->builder.graph;
    ir::Graph& graph = place.builder.graph;
    Value inner;
    if (around.is_constant(*outer)) {
      inner = graph.add_constant(around.source_name(*outer), around.source(*outer));
    } else {
      op::TypeInfo type = around.type(*outer);
      type.elements.reset();  // of this call only
      inner = graph.add_input(name, std::move(type));
      place.builder.captured.push_back(*outer);
    }
    place.values.emplace(name, inner);
    return inner;
  }

  Value value_of(const std::string& name, Place& place) {
    if (name.empty()) return {};
    const auto value = find(name, place);
    if (!value) fail(ErrorCode::invalid_input, "value \"{}\" is used before it is defined", name);
    return *value;
  }

  void add_nodes(const std::vector<OnnxNode>& nodes, Place& place) {
    for (const OnnxNode& node : nodes) {
      const std::string& name = node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name;
      with_context(fmt::format("node \"{}\" ({})", name, op_name(node)), [&] { add_node(node, place); });
    }
  }

  void add_node(const OnnxNode& node, Place& place) {
    if (node.outputs.empty()) fail(ErrorCode::invalid_input, "no outputs");
    const auto function = functions_.find(key_of(node.domain, node.op_type, node.overload));
    const std::vector<Value> results =
        function != functions_.end() ? call(*function->second, node, place) : add_operator(node, place);
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i].empty()) continue;
      if (i >= results.size() || !results[i]) fail(ErrorCode::unsupported, "output {} of this form", i);
      define(place, node.outputs[i], results[i]);
      ir::Graph& graph = place.builder.graph;
      if (graph.kind(results[i]) == ir::ValueKind::result) graph.rename(results[i], node.outputs[i]);
    }
  }

  // Inlines the function's nodes. They see its inputs, nothing around the call.
  std::vector<Value> call(const io::OnnxFunction& function, const OnnxNode& node, Place& place) {
    if (place.function_depth >= kMaxFunctionDepth) {
      fail(ErrorCode::invalid_input, "function \"{}\": calls nested deeper than {}", function.name, kMaxFunctionDepth);
    }
    if (node.inputs.size() > function.inputs.size()) {
      fail(ErrorCode::invalid_input, "function \"{}\": {} inputs, found {}", function.name, function.inputs.size(),
           node.inputs.size());
    }
    std::map<std::string, const OnnxAttribute*, std::less<>> arguments;
    for (const OnnxAttribute& attribute : function.default_attributes) arguments[attribute.name] = &attribute;
    for (const OnnxAttribute& attribute : node.attributes) {
      if (const OnnxAttribute* given = resolved(attribute, place)) arguments[attribute.name] = given;
    }
    Place inside{.builder = place.builder,
                 .values = {},
                 .around = nullptr,
                 .opsets = function.opsets,
                 .arguments = &arguments,
                 .function_depth = place.function_depth + 1};
    for (size_t i = 0; i < function.inputs.size(); ++i) {
      inside.values[function.inputs[i]] = i < node.inputs.size() ? value_of(node.inputs[i], place) : Value();
    }
    add_nodes(function.nodes, inside);
    std::vector<Value> results;
    for (const std::string& output : function.outputs) results.push_back(value_of(output, inside));
    return results;
  }

  // The attribute itself, or what the call gives for it; nullptr when the call gives nothing.
  const OnnxAttribute* resolved(const OnnxAttribute& attribute, const Place& place) const {
    if (attribute.ref_attr_name.empty()) return &attribute;
    if (!place.arguments) {
      fail(ErrorCode::invalid_input, "attribute \"{}\" refers to \"{}\" outside of a function", attribute.name,
           attribute.ref_attr_name);
    }
    const auto it = place.arguments->find(attribute.ref_attr_name);
    return it == place.arguments->end() ? nullptr : it->second;
  }

  std::vector<Value> add_operator(const OnnxNode& node, Place& place) {
    PendingNode pending{.op = op_name(node), .name = node.name, .inputs = {}, .attributes = {}};
    pending.outputs = int(node.outputs.size());
    for (const std::string& input : node.inputs) pending.inputs.push_back(value_of(input, place));
    std::map<std::string, const io::OnnxGraph*> bodies;
    for (const OnnxAttribute& attribute : node.attributes) {
      const OnnxAttribute* given = resolved(attribute, place);
      if (!given) continue;
      if (given->type == OnnxAttributeType::graph) {
        bodies[attribute.name] = &std::get<std::vector<io::OnnxGraph>>(given->value).at(0);
      } else {
        const bool sparse = given->type == OnnxAttributeType::sparse_tensor;
        pending.attributes.set(sparse ? "value" : attribute.name, attribute_of(*given, *file_));
      }
    }
    if (!bodies.empty()) add_bodies(bodies, pending, place);
    if (is_standard(node.domain)) {
      const int64_t opset = opset_of("", place);
      if (opset < 1 || opset > kNewestImportOpset) {
        fail(ErrorCode::unsupported, "opset {}: only 1 to {} can be read", opset, kNewestImportOpset);
      }
      if (auto results = upgrade_node(place.builder.graph, pending, opset)) return *std::move(results);
    }
    const ir::NodeId id = place.builder.graph.add_node(pending.op, std::move(pending.inputs),
                                                       std::move(pending.attributes), pending.name, pending.outputs);
    return place.builder.graph.node(id).outputs;
  }

  struct ImportedBody {
    op::SubgraphPtr body;
    std::vector<Value> captured;
  };

  // `types` of the formal inputs; what the body uses from around it follows them.
  ImportedBody import_body(const io::OnnxGraph& from, const std::vector<op::TypeInfo>& types, Place& place) {
    return with_context(fmt::format("graph \"{}\"", from.name), [&] {
      Builder builder(from.name.empty() ? "body" : from.name);
      Place inside{.builder = builder,
                   .values = {},
                   .around = &place,
                   .opsets = place.opsets,
                   .arguments = place.arguments,
                   .function_depth = place.function_depth};
      if (from.inputs.size() != types.size()) {
        fail(ErrorCode::invalid_input, "expected {} inputs, found {}", types.size(), from.inputs.size());
      }
      for (size_t i = 0; i < types.size(); ++i) {
        op::TypeInfo type = types[i];
        type.elements.reset();
        define(inside, from.inputs[i].name, builder.graph.add_input(from.inputs[i].name, std::move(type)));
      }
      add_initializers(from, inside);
      add_nodes(from.nodes, inside);
      for (const io::OnnxValueInfo& output : from.outputs) {
        builder.graph.add_output(value_of(output.name, inside), output.name);
      }
      return ImportedBody{std::make_shared<const ir::Body>(std::move(builder.graph)), std::move(builder.captured)};
    });
  }

  // Closes the graphs of a node: captured values become further inputs.
  void add_bodies(const std::map<std::string, const io::OnnxGraph*>& bodies, PendingNode& node, Place& place) {
    const size_t own_inputs = node.inputs.size();
    for (const auto& [name, from] : bodies) {
      const ImportedBody body = with_context(fmt::format("attribute \"{}\"", name),
                                             [&, &name = name, &from = from] { return fit_body(*from, name, node, own_inputs, place); });
      node.attributes.set(name, body.body);
      node.inputs.insert(node.inputs.end(), body.captured.begin(), body.captured.end());
    }
    if (node.op != "If") node.attributes.set("num_captures", int64_t(node.inputs.size() - own_inputs));
  }

  // The body with input types wide enough for every round: what a round hands to the next one must fit again.
  ImportedBody fit_body(const io::OnnxGraph& from, const std::string& attribute, const PendingNode& node, size_t inputs,
                        Place& place) {
    std::vector<op::TypeInfo> types = formal_types(from, node, inputs, place.builder.graph);
    const size_t first_state = node.op == "Loop" ? 2 : 0;
    const size_t states = node.op == "Loop"   ? types.size() - first_state
                          : node.op == "Scan" ? scan_states(node, inputs)
                                              : 0;
    for (int round = 0;; ++round) {
      ImportedBody body = import_body(from, types, place);
      const std::vector<op::TypeInfo> results = body.body->output_types();
      const size_t first_result = node.op == "Loop" ? 1 : 0;
      if (results.size() < first_result + states) fail(ErrorCode::invalid_input, "{} outputs", results.size());
      bool fits = true;
      for (size_t i = 0; i < states; ++i) {
        op::TypeInfo& type = types[first_state + i];
        const op::TypeInfo wide = widened(type, results[first_result + i], fmt::format("{}_{}_{}", attribute, from.name, i));
        fits = fits && wide == type;
        type = wide;
      }
      if (fits) return body;
      LATHE_CHECK(round < 4, "the types of graph {} do not settle", from.name);
    }
  }

  static size_t scan_states(const PendingNode& node, size_t inputs) {
    const int64_t scanned = node.attributes.get_int("num_scan_inputs", 0);
    if (scanned < 1 || size_t(scanned) > inputs) {
      fail(ErrorCode::invalid_input, "num_scan_inputs is {} of {} inputs", scanned, inputs);
    }
    return inputs - size_t(scanned);
  }

  static op::TypeInfo widened(const op::TypeInfo& a, const op::TypeInfo& b, const std::string& name) {
    if (a.form != b.form || a.dtype != b.dtype) {
      if (a.dtype == tensor::DType::undefined) return a;
      return op::TypeInfo::unranked(tensor::DType::undefined);
    }
    if (!a.ranked || !b.ranked || a.shape.size() != b.shape.size()) {
      op::TypeInfo wide = a;
      wide.shape.clear();
      wide.ranked = false;
      return wide;
    }
    op::TypeInfo wide = a;
    for (size_t i = 0; i < a.shape.size(); ++i) {
      if (a.shape[i] != b.shape[i]) wide.shape[i] = tensor::Dim::symbol(fmt::format("round_{}_{}", name, i));
    }
    return wide;
  }

  // The types of a body's own inputs, from those of the node's.
  std::vector<op::TypeInfo> formal_types(const io::OnnxGraph& from, const PendingNode& node, size_t inputs,
                                         const ir::Graph& graph) {
    const auto type_at = [&](size_t i) {
      if (i >= inputs || !node.inputs[i]) return op::TypeInfo::unranked(tensor::DType::undefined);
      op::TypeInfo type = graph.type(node.inputs[i]);
      type.elements.reset();
      return type;
    };
    std::vector<op::TypeInfo> types;
    if (node.op == "If") return types;
    for (size_t i = 0; i < inputs; ++i) types.push_back(type_at(i));
    if (node.op == "Loop") {
      if (types.size() < 2) fail(ErrorCode::invalid_input, "Loop: {} inputs", types.size());
      for (const size_t i : {size_t{0}, size_t{1}}) {
        types[i] = {i == 0 ? tensor::DType::i64 : tensor::DType::boolean, {}};
        const bool typed = i < from.inputs.size() && from.inputs[i].type && from.inputs[i].type->shape;
        if (typed && from.inputs[i].type->shape->size() == 1) types[i].shape.emplace_back(1);
      }
    } else if (node.op == "Scan") {
      const size_t states = scan_states(node, inputs);
      const auto axes = node.attributes.find_ints("scan_input_axes").value_or(std::vector<int64_t>());
      for (size_t i = states; i < inputs; ++i) {
        const int64_t axis = i - states < axes.size() ? axes[i - states] : 0;
        const int64_t rank = int64_t(types[i].shape.size());
        if (!types[i].is_plain()) continue;
        if (axis < -rank || axis >= rank) fail(ErrorCode::invalid_input, "Scan: axis {} of rank {}", axis, rank);
        types[i].shape.erase(types[i].shape.begin() + (axis < 0 ? axis + rank : axis));
      }
    } else if (node.op == "SequenceMap") {
      for (op::TypeInfo& type : types) {
        if (type.form == op::Form::sequence) type = op::TypeInfo::unranked(type.dtype);
      }
    } else {  // of an operator that says what it gives its body: unknown until it runs
      types.clear();
      for (const io::OnnxValueInfo& input : from.inputs) {
        types.push_back(input.type ? declared(input) : op::TypeInfo::unranked(tensor::DType::undefined));
      }
    }
    return types;
  }

  std::shared_ptr<const io::OnnxFile> file_;  // shared: sources may outlive the importer
  std::map<FunctionKey, const io::OnnxFunction*> functions_;
  UnknownDims unknown_;
};

}  // namespace

ir::Graph import_onnx(const std::shared_ptr<const io::OnnxFile>& file) {
  return with_context(file->path().string(), [&] { return Importer(file).run(); });
}

}  // namespace lathe::frontend
