#include "compiler/onnx_decoder.h"

#include <algorithm>
#include <random>

#include "base/error.h"
#include "frontend/contract_from.h"
#include "frontend/decoder.h"
#include "frontend/onnx_import.h"
#include "opt/pipeline.h"

namespace lathe::compiler {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;
using tensor::DType;
using tensor::Tensor;

Value require_input(const Graph& graph, const std::string& name, DType dtype, size_t rank) {
  const auto value = graph.find(name);
  if (!value || graph.kind(*value) != ir::ValueKind::input) {
    fail(ErrorCode::unsupported, "not the graph of a language model with a cache: it has no input \"{}\"", name);
  }
  const op::TypeInfo& type = graph.type(*value);
  if (!type.is_plain() || type.dtype != dtype || type.shape.size() != rank) {
    fail(ErrorCode::unsupported, "input \"{}\": expected {} of rank {}, found {}", name, to_string(dtype), rank,
         op::to_string(type));
  }
  return *value;
}

// Sizes that the graph's inputs and outputs tell, and the context that config.json tells.
frontend::DecoderConfig read_sizes(const Graph& graph, const Json& config) {
  frontend::DecoderConfig sizes;
  for (const std::string name : {"input_ids", "attention_mask", "position_ids"}) {
    require_input(graph, name, DType::i64, 2);
  }
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
  const auto logits = graph.find("logits");
  const op::TypeInfo type = logits ? graph.type(*logits) : op::TypeInfo();
  if (!logits || !graph.is_output(*logits) || type.shape.size() != 3 || !type.shape[2].is_constant()) {
    fail(ErrorCode::unsupported, "expected an output \"logits\" [batch, sequence, vocabulary], found {}",
         op::to_string(type));
  }
  sizes.vocab_size = type.shape[2].value();
  for (const char* key : {"max_position_embeddings", "n_positions", "n_ctx"}) {
    if (sizes.context_length == 0) sizes.context_length = find_int(config, key).value_or(0);
  }
  return sizes;
}

// One shape of a step, and which positions are padding.
struct Probe {
  int64_t batch, sequence, past;
  unsigned padding_seed;  // 0: none
};
constexpr Probe kProbes[] = {{1, 1, 0, 0}, {1, 4, 0, 0}, {1, 1, 5, 0}, {2, 3, 2, 0},
                             {2, 4, 0, 1}, {3, 2, 4, 2}, {2, 5, 1, 3}};

// What the step's inputs are for a probe: the mask may look at any of them.
std::map<std::string, Tensor> probe_inputs(const Graph& graph, const Probe& probe) {
  const int64_t total = probe.past + probe.sequence;
  Tensor mask(DType::i64, {probe.batch, total});
  std::mt19937 random(probe.padding_seed);
  for (int64_t& seen : mask.data<int64_t>()) seen = probe.padding_seed == 0 || random() % 3 != 0;
  Tensor positions(DType::i64, {probe.batch, probe.sequence});
  const auto numbers = positions.data<int64_t>();
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = probe.past + int64_t(i) % probe.sequence;
  std::map<std::string, Tensor> inputs = {{"input_ids", Tensor(DType::i64, {probe.batch, probe.sequence})},
                                          {"attention_mask", mask},
                                          {"position_ids", positions}};
  for (const Value input : graph.inputs()) {
    const std::string& name = graph.name(input);
    if (!name.starts_with("past_key_values.")) continue;
    const tensor::Shape& shape = graph.type(input).shape;
    inputs.emplace(name, Tensor(DType::f32, {probe.batch, shape[1].value(), probe.past, shape[3].value()}));
  }
  return inputs;
}

// Whether this element lets a query see a key: true, or added to the score as 0. nullopt: neither seen nor hidden.
std::optional<bool> sees(const Tensor& mask, int64_t index) {
  constexpr double kHidden = -1e4;
  const double value = tensor::element_as_double(mask, index);
  if (mask.dtype() == DType::boolean) return value != 0;
  if (value == 0) return true;
  return value <= kHidden ? std::optional(false) : std::nullopt;
}

bool is_causal(const Graph& graph, Value mask, const Probe& probe) {
  ir::EvaluateOptions options;
  options.results = {mask};
  const auto inputs = probe_inputs(graph, probe);
  const Tensor found = ir::evaluate(graph, inputs, options).at(graph.name(mask));
  const Tensor& given = inputs.at("attention_mask");
  const int64_t total = probe.past + probe.sequence;
  if (found.dims() != tensor::Dims{probe.batch, 1, probe.sequence, total}) return false;
  for (int64_t b = 0; b < probe.batch; ++b) {
    for (int64_t i = 0; i < probe.sequence; ++i) {
      for (int64_t j = 0; j < total; ++j) {
        const bool expected = given.data<int64_t>()[size_t(b * total + j)] != 0 && j <= probe.past + i;
        if (sees(found, (b * probe.sequence + i) * total + j) != expected) return false;
      }
    }
  }
  return true;
}

// All attention reads one mask, which is replaced by lathe.CausalMask if that is what it computes.
void replace_mask(Graph& graph) {
  Value mask;
  std::vector<NodeId> readers;
  for (const NodeId id : graph.nodes()) {
    const Node& node = graph.node(id);
    if (node.op != "Attention") continue;
    const Value own = node.inputs.size() > 3 ? node.inputs[3] : Value{};
    if (!own || (mask && own != mask)) {
      fail(ErrorCode::unsupported, "node \"{}\" (Attention): {}", node.name, own ? "another mask" : "no mask");
    }
    mask = own;
    readers.push_back(id);
  }
  if (!mask) fail(ErrorCode::unsupported, "no attention was recognised");
  for (const Probe& probe : kProbes) {
    if (is_causal(graph, mask, probe)) continue;
    fail(ErrorCode::unsupported,
         "\"{}\" is no causal mask over attention_mask: it differs for batch {}, sequence {}, past {}{}",
         graph.name(mask), probe.batch, probe.sequence, probe.past, probe.padding_seed ? ", with padding" : "");
  }
  const std::vector<Value> inputs{*graph.find("attention_mask"), *graph.find("input_ids")};
  const NodeId causal =
      graph.add_node("lathe.CausalMask", inputs, {{"dtype", int64_t(DType::f32)}}, "mask", 1, graph.nodes()[0]);
  for (const NodeId reader : readers) graph.set_input(reader, 3, graph.node(causal).outputs[0]);
}

// x W as x (W')', with W' [columns, rows] stored as checkpoints store their matrices: kernels read it that way, and the
// engine then holds it once for its plan and its graph.
void store_matrices_by_output(Graph& graph) {
  std::map<Value, Value> turned;  // by the matrix as it was
  const std::vector<NodeId> order(graph.nodes().begin(), graph.nodes().end());
  for (const NodeId id : order) {
    const Node node = graph.node(id);
    const bool matrix = node.op == "MatMul" && graph.is_constant(node.inputs[1]) &&
                        graph.type(node.inputs[1]).shape.size() == 2;
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

}  // namespace

ir::Model import_decoder(const frontend::Checkpoint& folder, const LogSink& log) {
  return with_context(folder.path().string(), [&] {
    Graph graph = frontend::import_onnx(io::OnnxFile::open(folder.files().at(0)));
    const size_t before = graph.nodes().size();
    const frontend::DecoderConfig sizes = read_sizes(graph, folder.config());
    opt::PassOptions options;
    options.level = opt::Level::o2;
    opt::optimise(graph, options);
    replace_mask(graph);
    opt::run_passes(graph, std::vector{opt::get_pass("dead_code")}, options);  // what only the mask needed
    store_matrices_by_output(graph);
    ir::verify(graph);
    log(LogLevel::info, fmt::format("{} nodes of the graph became {}", before, graph.nodes().size()));
    ir::Model model;
    model.contract = frontend::make_contract(folder, sizes, contract::Precision::fp32);
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
