#include "frontend/shared_initializers.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/error.h"

namespace lathe::frontend {
namespace {

using io::OnnxGraph;
using io::OnnxNode;
using io::OnnxTensor;
using Renamed = std::map<std::string, std::string, std::less<>>;

void each_body(OnnxNode& node, const std::function<void(OnnxGraph&)>& visit) {
  for (io::OnnxAttribute& attribute : node.attributes) {
    auto* graphs = std::get_if<std::vector<OnnxGraph>>(&attribute.value);
    if (!graphs) continue;
    for (OnnxGraph& graph : *graphs) visit(graph);
  }
}

const tensor::Source* source_of(const OnnxTensor& tensor) {
  const auto* source = std::get_if<tensor::SourcePtr>(&tensor.values);
  return source ? source->get() : nullptr;
}

bool returns(const OnnxGraph& graph, const std::string& name) {
  return std::any_of(graph.outputs.begin(), graph.outputs.end(),
                     [&](const io::OnnxValueInfo& output) { return output.name == name; });
}

// Where a source is, and under which name it can be in the main graph.
struct Place {
  int graphs = 0;
  std::string name;
  bool in_main = false;
};

class Sharing {
 public:
  explicit Sharing(OnnxGraph& main) : main_(main) {
    look(main);
    for (const OnnxTensor& tensor : main.initializers) {
      if (!source_of(tensor)) continue;
      Place& place = places_[source_of(tensor)];
      place.name = tensor.name;
      place.in_main = true;
    }
  }

  void run() {
    for (OnnxNode& node : main_.nodes) {
      each_body(node, [&](OnnxGraph& body) { move_out(body, {}); });
    }
  }

 private:
  void look(OnnxGraph& graph) {
    for (const OnnxTensor& tensor : graph.initializers) {
      names_[tensor.name].insert(source_of(tensor));
      if (source_of(tensor)) ++places_[source_of(tensor)].graphs;
    }
    for (const io::OnnxValueInfo& input : graph.inputs) names_[input.name].insert(nullptr);
    for (OnnxNode& node : graph.nodes) {
      for (const std::string& output : node.outputs) names_[output].insert(nullptr);
      each_body(node, [&](OnnxGraph& body) { look(body); });
    }
  }

  // The tensor's own name where it means this source wherever it is defined.
  std::string main_name(const OnnxTensor& tensor) {
    std::string name = tensor.name;
    const std::set<const tensor::Source*> only = {source_of(tensor)};
    for (int i = 1; names_.contains(name) && names_[name] != only; ++i) name = fmt::format("{}_{}", tensor.name, i);
    names_[name] = only;
    return name;
  }

  void move_out(OnnxGraph& graph, Renamed renamed) {
    std::erase_if(graph.initializers, [&](OnnxTensor& tensor) {
      if (!source_of(tensor)) return false;
      Place& place = places_.at(source_of(tensor));
      if (place.graphs < 2 || returns(graph, tensor.name)) return false;
      const std::string old = tensor.name;
      if (!place.in_main) {
        place = {place.graphs, main_name(tensor), true};
        tensor.name = place.name;
        main_.initializers.push_back(tensor);
      }
      renamed[old] = place.name;
      return true;
    });
    for (OnnxNode& node : graph.nodes) {
      for (std::string& input : node.inputs) {
        if (const auto it = renamed.find(input); it != renamed.end()) input = it->second;
      }
      each_body(node, [&](OnnxGraph& body) { move_out(body, renamed); });
    }
  }

  OnnxGraph& main_;
  std::map<const tensor::Source*, Place> places_;
  std::map<std::string, std::set<const tensor::Source*>> names_;  // what each stands for; nullptr: something else
};

// Names that the graph's nodes read, those of graphs below included.
std::set<std::string> drop_unused(OnnxGraph& graph) {
  std::set<std::string> used;
  for (OnnxNode& node : graph.nodes) {
    used.insert(node.inputs.begin(), node.inputs.end());
    each_body(node, [&](OnnxGraph& body) { used.merge(drop_unused(body)); });
  }
  for (const io::OnnxValueInfo& output : graph.outputs) used.insert(output.name);
  std::erase_if(graph.initializers, [&](const OnnxTensor& tensor) { return !used.contains(tensor.name); });
  return used;
}

}  // namespace

void share_initializers(OnnxGraph& main) {
  Sharing(main).run();
}

void drop_unused_initializers(OnnxGraph& main) {
  drop_unused(main);
}

}  // namespace lathe::frontend
