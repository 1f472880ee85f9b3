// A lowered graph as ONNX's structs: names, constants and nodes, with the graphs inside nodes. Private to
// onnx_export.cpp.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "frontend/node_bodies.h"
#include "frontend/onnx_export.h"
#include "io/onnx_model.h"
#include "ir/graph.h"

namespace lathe::frontend {

// What the writers of one model share.
struct OnnxWriterState {
  const OnnxExportOptions& options;
  QuantizedReport& report;
  std::map<std::string, int> node_names = {};  // how often each is in use
  // By what they are made of and whether it is transposed: a source that two graphs use is stored once.
  std::map<std::pair<const tensor::Source*, bool>, tensor::SourcePtr> stored = {};
};

// Writes one graph; holds the decisions about its names and constants.
class OnnxGraphWriter {
 public:
  // The main graph: its values keep their names.
  OnnxGraphWriter(const ir::Graph& graph, OnnxWriterState& state);
  // A graph in a node of the one that `around` writes. What it captures has the names `captured` there; its own
  // values get names that no graph around it uses.
  OnnxGraphWriter(const NodeBody& body, const std::vector<std::string>& captured, const OnnxGraphWriter& around);

  io::OnnxGraph write();

 private:
  bool is_main() const { return around_ == nullptr; }
  bool is_taken(const std::string& name) const;
  // The name, or with a number where it is in use here or around.
  std::string claim(const std::string& wanted);
  void name_outputs();

  io::OnnxValueInfo value_info(ir::Value value, const std::string& name);
  bool keeps_quantized(const tensor::SourcePtr& source) const;
  // A plain matrix whose every use is Transpose(perm = [1, 0]): stored transposed, the nodes left out.
  bool is_stored_transposed(ir::Value constant) const;
  bool is_absorbed(ir::NodeId id) const;
  // The ONNX name of a value: an absorbed transposition carries its constant's name.
  std::string name_of(ir::Value value) const;

  void add_initializer(const std::string& name, tensor::SourcePtr source);
  tensor::SourcePtr stored(ir::Value constant);
  void write_constant(ir::Value constant);
  void write_quantized(const std::string& name, const tensor::SourcePtr& source);
  // Node names are "where/Operator", numbered from the second on: ONNX Runtime wants them unique.
  io::OnnxNode& add_node(std::string op, std::string name, std::vector<std::string> inputs,
                         std::vector<std::string> outputs);
  void write_node(const ir::Node& node);
  void write_contrib(const ir::Node& node);
  void write_attributes(const ir::Node& node, const NodeBodies& bodies, io::OnnxNode& to);

  const ir::Graph& graph_;
  OnnxWriterState& state_;
  const OnnxGraphWriter* around_ = nullptr;
  size_t formal_;                          // inputs that are this graph's own
  std::map<ir::Value, std::string> names_;
  std::vector<std::string> output_names_;  // where one is captured, of the copy that is returned
  std::set<std::string> taken_;
  std::optional<std::map<ir::Value, tensor::DType>> types_at_any_rank_;  // from when one is first needed
  io::OnnxGraph result_;
};

}  // namespace lathe::frontend
