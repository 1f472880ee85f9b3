#include "frontend/onnx_export.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "frontend/lowering.h"
#include "frontend/onnx_graph_writer.h"
#include "frontend/shared_initializers.h"

namespace lathe::frontend {
namespace {

using ir::Value;

// Versions of the domains beside ONNX's own, in which our operators of their names are.
constexpr std::pair<std::string_view, int64_t> kDomains[] = {
    {"ai.onnx.ml", 5}, {"ai.onnx.preview", 1}, {"ai.onnx.preview.training", 1}, {"com.microsoft", 1}};

void check(const OnnxExportOptions& options) {
  if (options.opset < kOldestExportOpset || options.opset > kNewestExportOpset) {
    fail(ErrorCode::unsupported, "opset {} cannot be written, only {} to {}", options.opset, kOldestExportOpset,
         kNewestExportOpset);
  }
  if (options.keep_quantized && options.opset < 21) {
    fail(ErrorCode::unsupported, "--keep-quantized needs opset 21 or higher (blocked DequantizeLinear), found {}",
         options.opset);
  }
}

}  // namespace

std::map<std::string, io::OnnxType> declared_types(const io::OnnxModel& model) {
  std::map<std::string, io::OnnxType> types;
  for (const auto* values : {&model.graph.outputs, &model.graph.value_infos}) {
    for (const io::OnnxValueInfo& value : *values) {
      if (value.type) types.emplace(value.name, *value.type);
    }
  }
  return types;
}

int64_t ir_version_for_opset(int opset) {
  if (opset <= 14) return 7;
  if (opset <= 18) return 8;
  if (opset <= 20) return 9;
  if (opset <= 22) return 10;
  return opset == 23 ? 11 : 12;
}

io::OnnxModel to_onnx(const ir::Graph& graph, const OnnxExportOptions& options, QuantizedReport* report) {
  check(options);
  QuantizedReport unused;
  io::OnnxModel model;
  model.ir_version = ir_version_for_opset(options.opset);
  model.opsets = {{"", options.opset}};
  model.producer_name = "lathe";
  model.producer_version = LATHE_VERSION;
  OnnxWriterState state{.options = options, .report = report ? *report : unused};
  model.graph = OnnxGraphWriter(graph, state).write();
  std::set<std::string> domains;
  io::each_graph(model, [&](const io::OnnxGraph& g) {
    for (const io::OnnxNode& node : g.nodes) domains.insert(node.domain);
  });
  for (const auto& [domain, version] : kDomains) {
    if (domains.contains(std::string(domain))) model.opsets.push_back({std::string(domain), version});
  }
  share_initializers(model.graph);
  drop_unused_initializers(model.graph);
  return model;
}

io::OnnxModel export_decoder(const ir::Model& model, const OnnxExportOptions& options,
                             const std::map<std::string, int64_t>& static_dims, QuantizedReport* report) {
  check(options);
  ir::Graph graph = model.graphs.at("main");
  static const std::map<std::string, std::string, std::less<>> kShort = {
      {"batch", "batch_size"}, {"sequence", "sequence_length"}, {"past", "past_sequence_length"}};
  std::map<std::string, int64_t, std::less<>> bindings;
  for (const auto& [name, size] : static_dims) {
    const auto it = kShort.find(name);
    const std::string symbol = it == kShort.end() ? name : it->second;
    const bool known = std::any_of(kShort.begin(), kShort.end(), [&](const auto& s) { return s.second == symbol; });
    if (!known) fail(ErrorCode::usage, "--static: no dimension \"{}\"; there are batch, sequence, past", name);
    if (size < (symbol == "past_sequence_length" ? 0 : 1)) {
      fail(ErrorCode::usage, "--static: {} cannot be {}", name, size);
    }
    bindings[symbol] = size;
  }
  if (!bindings.empty()) {
    for (const Value input : graph.inputs()) {
      op::TypeInfo type = graph.type(input);
      for (tensor::Dim& dim : type.shape) dim = dim.bind(bindings);
      graph.set_type(input, std::move(type));
    }
    graph.infer_types();
  }
  return to_onnx(lower_to_opset(graph, options.opset), options, report);
}

}  // namespace lathe::frontend
