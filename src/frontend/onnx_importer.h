// The importer behind import_onnx; private to onnx_import.cpp and onnx_bodies.cpp.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "frontend/onnx_types.h"
#include "frontend/onnx_upgrade.h"
#include "io/onnx.h"
#include "ir/body.h"

namespace lathe::frontend {

// One graph that is being built. A body looks for what it does not define in the graph around it.
struct OpenGraph {
  explicit OpenGraph(std::string name) : graph(std::move(name)) {}

  ir::Graph graph;
  std::vector<ir::Value> captured;  // values of the graph around, in the order of this graph's last inputs
};

// Where nodes stand: in which graph, among which names, under which opsets, with which attributes of a function call.
struct Place {
  OpenGraph& builder;
  std::map<std::string, ir::Value, std::less<>> values;
  Place* around = nullptr;  // of a body
  const std::vector<io::OnnxOpset>& opsets;
  // Of the call; nullptr when not in a function.
  const std::map<std::string, const io::OnnxAttribute*, std::less<>>* arguments = nullptr;
  int function_depth = 0;
};

class Importer {
 public:
  explicit Importer(std::shared_ptr<const io::OnnxFile> file);

  ir::Graph run();

 private:
  using FunctionKey = std::array<std::string, 3>;  // domain, name, overload
  struct ImportedBody {
    op::SubgraphPtr body;
    std::vector<ir::Value> captured;
  };

  // onnx_import.cpp
  // All nodes whose operator is unknown, at once.
  void check_known(const io::OnnxModel& model) const;
  static int64_t opset_of(const std::string& domain, const Place& place);
  op::TypeInfo declared(const io::OnnxValueInfo& value);
  static void define(Place& place, const std::string& name, ir::Value value);
  void add_initializers(const io::OnnxGraph& from, Place& place);
  // A name here or around; what is found around becomes an input of this body, or a constant of its own.
  std::optional<ir::Value> find(const std::string& name, Place& place);
  ir::Value value_of(const std::string& name, Place& place);
  // The same where there must be one: an empty name, or an argument that a call left out, is an error.
  ir::Value required(const std::string& name, Place& place);
  void add_nodes(const std::vector<io::OnnxNode>& nodes, Place& place);
  void add_node(const io::OnnxNode& node, Place& place);
  // Inlines the function's nodes. They see its inputs, nothing around the call.
  std::vector<ir::Value> call(const io::OnnxFunction& function, const io::OnnxNode& node, Place& place);
  // The attribute itself, or what the call gives for it; nullptr when the call gives nothing.
  const io::OnnxAttribute* resolved(const io::OnnxAttribute& attribute, const Place& place) const;
  std::vector<ir::Value> add_operator(const io::OnnxNode& node, Place& place);
  std::vector<ir::Value> add_newest_operator(const io::OnnxNode& node, Place& place);

  // onnx_bodies.cpp
  static Place place_inside(OpenGraph& builder, Place& around);
  // Scan of opset 8 had a batch: it is today's Scan in the body of another one, which goes through the batch.
  std::vector<ir::Value> add_batched_scan(const io::OnnxNode& node, Place& place);
  // Closes the graphs of a node: captured values become further inputs.
  void add_bodies(const std::map<std::string, const io::OnnxGraph*>& bodies, PendingNode& node, Place& place);
  // The body with input types wide enough for every round: what a round hands to the next one must fit again.
  ImportedBody fit_body(const io::OnnxGraph& from, const std::string& attribute, const PendingNode& node, size_t inputs,
                        Place& place);
  // `types` of the formal inputs; what the body uses from around it follows them.
  ImportedBody import_body(const io::OnnxGraph& from, const std::vector<op::TypeInfo>& types, Place& place);
  // The types of a body's own inputs, from those of the node's.
  std::vector<op::TypeInfo> formal_types(const io::OnnxGraph& from, const PendingNode& node, size_t inputs,
                                         const ir::Graph& graph);

  static FunctionKey key_of(const std::string& domain, const std::string& name, const std::string& overload);

  std::shared_ptr<const io::OnnxFile> file_;  // shared: sources may outlive the importer
  std::map<FunctionKey, const io::OnnxFunction*> functions_;
  UnknownDims unknown_;
  int64_t added_ = 0;  // nodes so far: functions that call functions, and bodies read again, may multiply them
};

// ONNX's own domain, by either of its names.
bool is_standard(const std::string& domain);

}  // namespace lathe::frontend
