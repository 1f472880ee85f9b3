#include "compiler/onnx_decoder.h"

#include <cmath>
#include <set>

#include "base/error.h"
#include "compiler/decoder_probes.h"
#include "compiler/fp32_graph.h"
#include "compiler/stored_matrices.h"
#include "frontend/contract_from.h"
#include "frontend/decoder.h"
#include "frontend/onnx_import.h"
#include "opt/formula.h"
#include "opt/pipeline.h"
#include "opt/rule.h"

namespace lathe::compiler {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;
using tensor::DType;

Value require_input(const Graph& graph, const std::string& name, DType dtype, size_t rank) {
  const auto value = graph.find(name);
  if (!value || graph.kind(*value) != ir::ValueKind::input) {
    fail(ErrorCode::unsupported, "not the graph of a language model: it has no input \"{}\"", name);
  }
  const op::TypeInfo& type = graph.type(*value);
  if (!type.is_plain() || type.dtype != dtype || type.shape.size() != rank) {
    fail(ErrorCode::unsupported, "input \"{}\": expected {} of rank {}, found {}", name, to_string(dtype), rank,
         op::to_string(type));
  }
  return *value;
}

bool has_past(const Graph& graph) { return graph.find("past_key_values.0.key").has_value(); }

void require_outputs(const Graph& graph) {
  const auto logits = graph.find("logits");
  const op::TypeInfo type = logits ? graph.type(*logits) : op::TypeInfo();
  if (!logits || !graph.is_output(*logits) || type.shape.size() != 3 || !type.shape[2].is_constant()) {
    fail(ErrorCode::unsupported, "expected an output \"logits\" [batch, sequence, vocabulary], found {}",
         op::to_string(type));
  }
}

// Sizes that the graph's inputs and outputs tell, and the context that config.json tells.
frontend::DecoderConfig read_sizes(const Graph& graph, const Json& config) {
  frontend::DecoderConfig sizes;
  const tensor::Shape past = graph.type(require_input(graph, "past_key_values.0.key", DType::f32, 4)).shape;
  if (!past[1].is_constant() || !past[3].is_constant()) {
    fail(ErrorCode::unsupported, "past_key_values.0.key: heads of {}", op::to_string({DType::f32, past}));
  }
  sizes.num_kv_heads = past[1].value();
  sizes.head_dim = past[3].value();
  for (;; ++sizes.num_layers) {
    const std::string prefix = fmt::format("past_key_values.{}.", sizes.num_layers);
    if (!graph.find(prefix + "key")) break;
    for (const char* part : {"key", "value"}) {
      const Value input = require_input(graph, prefix + part, DType::f32, 4);
      if (graph.type(input).shape != past) {
        fail(ErrorCode::unsupported, "input \"{}{}\": other heads than the first layer's", prefix, part);
      }
    }
  }
  sizes.vocab_size = graph.type(*graph.find("logits")).shape[2].value();
  for (const char* key : {"max_position_embeddings", "n_positions", "n_ctx"}) {
    if (sizes.context_length == 0) sizes.context_length = find_int(config, key).value_or(0);
  }
  return sizes;
}

// What a graph stores in half precision.
struct Narrow {
  std::optional<DType> dtype;     // of the first matrix in it
  bool any = false;               // any value at all
  std::set<std::string> origins;  // tensors of `dtype`
};
Narrow find_narrow(const Graph& graph) {
  Narrow narrow;
  const auto is_narrow = [](DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; };
  for (const Value constant : graph.constants()) {
    const tensor::Source& source = *graph.source(constant);
    if (!is_narrow(source.dtype())) continue;
    narrow.any = true;
    if (source.dims().size() == 2 && !narrow.dtype) narrow.dtype = source.dtype();
  }
  for (const Value constant : graph.constants()) {
    const tensor::Source& source = *graph.source(constant);
    if (narrow.dtype == source.dtype()) narrow.origins.insert(source.origin());
  }
  for (const Value input : graph.inputs()) narrow.any |= is_narrow(graph.type(input).dtype);
  return narrow;
}

// Where the graph makes its positions itself, they become the input "position_ids".
void ask_for_positions(Graph& graph, const opt::PassOptions& options) {
  if (graph.find("position_ids")) return;
  // Only numbers of rows are asked for here; they need no look-up.
  opt::run_passes(graph, std::vector{opt::rewrite_pass("shapes", {opt::find_rule("shape_of_gather")})}, options);
  const tensor::Shape step = graph.type(*graph.find("input_ids")).shape;
  const std::vector<NodeId> order(graph.nodes().begin(), graph.nodes().end());
  std::vector<Value> found;
  for (const NodeId id : order) {
    for (const Value value : graph.node(id).outputs) {
      const op::TypeInfo& type = graph.type(value);
      const bool fits = value && type.is_plain() && type.dtype == DType::i64 && type.shape.size() == 2 &&
                        type.shape[1] == step[1] && (type.shape[0] == step[0] || type.shape[0] == tensor::Dim(1));
      if (fits && is_positions(graph, value)) found.push_back(value);
    }
  }
  if (found.empty()) return;  // a model without positions
  const Value positions = graph.add_input("position_ids", {DType::i64, step, {}});
  for (const Value value : found) graph.replace_uses(value, positions);
  graph.infer_types();
}

std::vector<NodeId> attention_nodes(const Graph& graph) {
  std::vector<NodeId> found;
  for (const NodeId id : graph.nodes()) {
    if (graph.node(id).op == "Attention") found.push_back(id);
  }
  if (found.empty()) fail(ErrorCode::unsupported, "no attention was recognised");
  return found;
}

// All attention reads one mask, which is replaced by lathe.CausalMask if that is what it computes.
void replace_mask(Graph& graph) {
  Value mask;
  const std::vector<NodeId> readers = attention_nodes(graph);
  for (const NodeId id : readers) {
    const Node& node = graph.node(id);
    const Value own = node.inputs.size() > 3 ? node.inputs[3] : Value{};
    if (!own || (mask && own != mask)) {
      fail(ErrorCode::unsupported, "node \"{}\" (Attention): {}", node.name, own ? "another mask" : "no mask");
    }
    mask = own;
  }
  require_causal(graph, mask);
  const Value ids = *graph.find("input_ids"), given = *graph.find("attention_mask");
  if (!has_past(graph)) {
    const tensor::Shape& step = graph.type(ids).shape;
    graph.set_type(given, {DType::i64, {step[0], tensor::Dim::symbol("past_sequence_length") + step[1]}, {}});
  }
  const NodeId causal =
      graph.add_node("lathe.CausalMask", {given, ids}, {{"dtype", int64_t(DType::f32)}}, "mask", 1, graph.nodes()[0]);
  for (const NodeId reader : readers) graph.set_input(reader, 3, graph.node(causal).outputs[0]);
}

// Numbers that a narrow graph holds are off by its rounding: 1 / sqrt(head_dim) is what its scale stands for.
void restore_scales(Graph& graph, DType dtype) {
  for (const NodeId id : attention_nodes(graph)) {
    const Node& node = graph.node(id);
    const int64_t heads = node.attributes.get_int("kv_num_heads", 0);
    const auto width = graph.type(node.inputs[1]).shape.back().constant();
    if (heads < 1 || !width) continue;
    const double meant = 1 / std::sqrt(double(*width / heads));
    if (opt::is_close(node.attributes.get_float("scale", meant), meant, dtype)) graph.set_attribute(id, "scale", meant);
  }
}

// A graph without a cache computes all positions anew. Its attention is causal and its other nodes look at one position
// each (or to_packed refuses them), so it computes the same with one.
void add_cache(Graph& graph) {
  const tensor::Shape step = graph.type(*graph.find("input_ids")).shape;
  int64_t layer = 0;
  for (const NodeId id : attention_nodes(graph)) {
    const Node node = graph.node(id);
    const int64_t heads = node.attributes.get_int("kv_num_heads", 0);
    const tensor::Dim& width = graph.type(node.inputs[1]).shape.back();
    const bool fits = heads > 0 && node.inputs.size() == 4 && width.is_constant() && width.value() % heads == 0 &&
                      graph.type(node.inputs[2]).shape.back() == width;
    if (!fits) fail(ErrorCode::unsupported, "node \"{}\" (Attention): not heads side by side in a row", node.name);
    const tensor::Shape past{step[0], heads, tensor::Dim::symbol("past_sequence_length"), width.value() / heads};
    std::vector<Value> inputs = node.inputs;
    for (const char* part : {"key", "value"}) {
      inputs.push_back(graph.add_input(fmt::format("past_key_values.{}.{}", layer, part), {DType::f32, past, {}}));
    }
    const auto results = graph.node(graph.add_node("Attention", inputs, node.attributes, node.name, 3, id)).outputs;
    graph.replace_uses(node.outputs[0], results[0]);
    graph.add_output(results[1], fmt::format("present.{}.key", layer));
    graph.add_output(results[2], fmt::format("present.{}.value", layer));
    ++layer;
  }
}

}  // namespace

ir::Model import_decoder(const frontend::Checkpoint& folder, const LogSink& log) {
  return with_context(folder.path().string(), [&] {
    Graph graph = frontend::import_onnx(io::OnnxFile::open(folder.files().at(0)));
    const size_t before = graph.nodes().size();
    for (const char* name : {"input_ids", "attention_mask"}) require_input(graph, name, DType::i64, 2);
    if (graph.find("position_ids")) require_input(graph, "position_ids", DType::i64, 2);
    require_outputs(graph);
    opt::PassOptions options;
    options.level = opt::Level::o2;
    const Narrow narrow = find_narrow(graph);
    if (narrow.any) {
      opt::optimise(graph, options);  // what is known by its numbers, while they have the type they were rounded to
      graph = in_fp32(graph);         // where else it rounds is the engine's business
    }
    ask_for_positions(graph, options);
    opt::optimise(graph, options);
    const bool cached = has_past(graph);
    if (narrow.dtype) restore_scales(graph, *narrow.dtype);
    replace_mask(graph);
    if (!cached) add_cache(graph);
    opt::run_passes(graph, std::vector{opt::get_pass("dead_code")}, options);  // what only the mask needed
    graph.infer_types();
    store_matrices_by_output(graph);
    share_embeddings(graph);
    if (narrow.dtype) store_narrow_matrices(graph, *narrow.dtype, narrow.origins);
    ir::verify(graph);
    log(LogLevel::info, fmt::format("{} nodes of the graph became {}", before, graph.nodes().size()));
    if (!cached) log(LogLevel::info, "the graph has no cache; the engine has");
    ir::Model model;
    const auto precision = !narrow.dtype                ? contract::Precision::fp32
                           : *narrow.dtype == DType::f16 ? contract::Precision::fp16
                                                         : contract::Precision::bf16;
    model.contract = frontend::make_contract(folder, read_sizes(graph, folder.config()), precision);
    model.graphs.emplace("main", std::move(graph));
    for (const auto& [name, text] : folder.assets()) model.assets.emplace(name, ir::Asset{text});
    return model;
  });
}

ir::Model read_model(const frontend::Checkpoint& checkpoint, const LogSink& log) {
  if (checkpoint.is_onnx()) return import_decoder(checkpoint, log);
  return frontend::build_decoder(checkpoint, frontend::natural_dtype(checkpoint));
}

}  // namespace lathe::compiler
