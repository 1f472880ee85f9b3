#include "frontend/onnx_interface.h"

#include <algorithm>
#include <optional>
#include <ranges>
#include <set>
#include <span>

#include "base/error.h"

namespace lathe::frontend {
namespace {

using ir::Value;
using tensor::Dim;
using tensor::DType;
using tensor::Shape;

// An input or output of ours. `lengths`: a symbol for each axis, empty where the model fixes the length.
struct Port {
  std::string_view name;
  DType dtype;
  std::vector<std::string_view> lengths;
  bool needed = true;
  bool by_name = false;  // its rank does not tell it

  size_t rank() const { return lengths.size(); }
};

struct Interface {
  std::string_view what;  // for people
  std::vector<Port> inputs, outputs;
  std::string_view unread = {};  // an input that only outputs nobody asks for are made of
};

// The time has rank 0 here; exporters give it one or none.
constexpr std::string_view kTime = "timestep";

// What an encoder draws its latents with, where it has no more than them.
constexpr std::string_view kNoise = "noise";

const Interface& interface_of(const std::string& name) {
  static const Interface text = {"a text encoder",
                                 {{"input_ids", DType::i64, {"batch_size", "sequence_length"}}},
                                 {{"last_hidden_state", DType::f32, {"batch_size", "sequence_length", ""}},
                                  {"pooler_output", DType::f32, {"batch_size", ""}, false},
                                  {"text_embeds", DType::f32, {"batch_size", ""}, false}}};
  static const Interface unet = {"a UNet",
                                 {{"sample", DType::f32, {"batch_size", "", "height", "width"}},
                                  {kTime, DType::f32, {}},
                                  {"encoder_hidden_states", DType::f32, {"batch_size", "sequence_length", ""}},
                                  {"timestep_cond", DType::f32, {"batch_size", ""}, false},
                                  {"text_embeds", DType::f32, {"batch_size", ""}, false},
                                  {"time_ids", DType::f32, {"batch_size", ""}, false}},
                                 {{"out_sample", DType::f32, {"batch_size", "", "height", "width"}}}};
  static const Interface decoder = {
      "an autoencoder's decoder",
      {{"latent_sample", DType::f32, {"batch_size", "", "latent_height", "latent_width"}}},
      {{"sample", DType::f32, {"batch_size", "", "height", "width"}}}};
  static const Interface encoder = {
      "an autoencoder's encoder",
      {{"sample", DType::f32, {"batch_size", "", "sample_height", "sample_width"}},
       {kNoise, DType::f32, {"batch_size", "", "height", "width"}, false, true}},
      {{"latent_parameters", DType::f32, {"batch_size", "", "height", "width"}, false, true},
       {"latents", DType::f32, {"batch_size", "", "height", "width"}, false}}};
  // By diffusers' conversion script: it gives the pictures back, too, those that it hides black.
  static const Interface checker = {
      "a safety checker",
      {{"clip_input", DType::f32, {"batch_size", "", "", ""}}},
      {{"has_nsfw_concepts", DType::f32, {"batch_size"}}},
      "images"};
  if (name.starts_with("text_encoder")) return text;
  if (name == "safety_checker") return checker;
  if (name == "unet") return unet;
  return name == "vae_decoder" ? decoder : encoder;
}

std::string names_of(const std::vector<Port>& ports) {
  std::string names;
  for (const Port& port : ports) names += (names.empty() ? "" : ", ") + std::string(port.name);
  return names;
}

bool fits(const Port& port, const op::TypeInfo& type) {
  return type.is_plain() && (type.shape.size() == port.rank() || (port.name == kTime && type.shape.size() == 1));
}

// Which of `ports` each value is: by name, else the only one of its rank that is left.
std::vector<const Port*> match(const ir::Graph& graph, std::span<const Value> values, const std::vector<Port>& ports) {
  std::vector<const Port*> found(values.size(), nullptr);
  std::set<const Port*> taken;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto port = std::ranges::find(ports, std::string_view(graph.name(values[i])), &Port::name);
    if (port == ports.end() || !fits(*port, graph.type(values[i]))) continue;
    found[i] = &*port;
    taken.insert(&*port);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (found[i]) continue;
    const Port* only = nullptr;
    int count = 0;
    for (const Port& port : ports) {
      if (port.by_name || taken.contains(&port) || !fits(port, graph.type(values[i]))) continue;
      only = &port;
      ++count;
    }
    if (count != 1) continue;
    found[i] = only;
    taken.insert(only);
  }
  return found;
}

// How many channels the first convolution takes, where the value goes to one.
std::optional<int64_t> channels_of(const ir::Graph& graph, Value value) {
  for (const ir::NodeId id : graph.users(value)) {
    const ir::Node& node = graph.node(id);
    if (node.op != "Conv" || node.inputs[0] != value) continue;
    const auto dims = tensor::to_dims(graph.type(node.inputs[1]).shape);
    if (dims && dims->size() > 1) return dims->at(1);
  }
  return std::nullopt;
}

// Axes whose length is a symbol get ours; channels that are declared free are not.
Shape own_shape(const Port& port, const ir::Graph& graph, Value value) {
  Shape own = graph.type(value).shape;
  for (size_t axis = 0; axis < port.rank(); ++axis) {
    if (own[axis].is_constant()) continue;
    if (!port.lengths[axis].empty()) own[axis] = Dim::symbol(port.lengths[axis]);
    if (port.lengths[axis].empty() && axis == 1) {
      if (const auto channels = channels_of(graph, value)) own[axis] = Dim(*channels);
    }
  }
  return own;
}

class Adapter {
 public:
  Adapter(ir::Graph graph, const Interface& own) : graph_(std::move(graph)), own_(own) {
    if (!graph_.nodes().empty()) first_ = graph_.nodes()[0];
  }

  ir::Graph run() {
    if (!own_.unread.empty()) leave_out(own_.unread);
    if (std::ranges::count(own_.inputs, kNoise, &Port::name) > 0) take_noise();
    adapt_inputs();
    graph_.infer_types();
    adapt_outputs();
    return std::move(graph_);
  }

 private:
  // What the graph draws from the normal distribution becomes an input.
  void take_noise() {
    const std::vector<ir::NodeId> nodes(graph_.nodes().begin(), graph_.nodes().end());
    for (const ir::NodeId id : nodes) {
      const ir::Node& node = graph_.node(id);
      const Value drawn = node.outputs[0];
      const bool standard = node.attributes.get_float("mean", 0) == 0 && node.attributes.get_float("scale", 1) == 1;
      if (node.op != "RandomNormalLike" || !standard || graph_.type(drawn).shape.size() != 4) continue;
      graph_.replace_uses(drawn, graph_.add_input(kNoise, graph_.type(drawn)));
      graph_.erase(id);
      first_ = graph_.nodes()[0];
      return;
    }
  }

  // The outputs that nobody asks for, what only they are made of, and the input with them.
  void leave_out(std::string_view input) {
    const std::vector<Value> outputs(graph_.outputs().begin(), graph_.outputs().end());
    const std::vector<const Port*> ports = match(graph_, outputs, own_.outputs);
    std::vector<Value> wanted;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (ports[i]) wanted.push_back(outputs[i]);
    }
    graph_.replace_outputs(std::move(wanted));
    const std::vector<ir::NodeId> nodes(graph_.nodes().begin(), graph_.nodes().end());
    for (const ir::NodeId id : nodes | std::views::reverse) {
      const bool read = std::ranges::any_of(graph_.node(id).outputs, [&](Value value) {
        return value && (!graph_.users(value).empty() || graph_.is_output(value));
      });
      if (!read) graph_.erase(id);
    }
    first_ = graph_.nodes().empty() ? ir::NodeId{} : graph_.nodes()[0];
    for (size_t i = graph_.inputs().size(); i-- > 0;) {
      const Value value = graph_.inputs()[i];
      if (graph_.name(value) == input && graph_.users(value).empty()) graph_.remove_input(i);
    }
  }

  void adapt_inputs() {
    const std::vector<Value> inputs(graph_.inputs().begin(), graph_.inputs().end());
    const std::vector<const Port*> ports = match(graph_, inputs, own_.inputs);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (ports[i]) continue;
      fail(ErrorCode::unsupported, "input \"{}\" {} is none of those that {} takes ({})", graph_.name(inputs[i]),
           op::to_string(graph_.type(inputs[i])), own_.what, names_of(own_.inputs));
    }
    for (const Port& port : own_.inputs) {
      if (port.needed && std::ranges::count(ports, &port) == 0) {
        fail(ErrorCode::unsupported, "no input \"{}\", which {} takes", port.name, own_.what);
      }
    }
    for (const Value input : inputs) graph_.rename(input, graph_.name(input) + ".exported");
    std::map<std::string_view, Value> added;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Port& port = *ports[i];
      const Shape shape = port.rank() == 0 ? Shape{} : own_shape(port, graph_, inputs[i]);
      added[port.name] = graph_.add_input(port.name, {port.dtype, shape, {}});
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      const op::TypeInfo wanted = graph_.type(inputs[i]);
      Value value = added.at(ports[i]->name);
      if (ports[i]->rank() < wanted.shape.size()) value = time_of(value, wanted.shape[0], added.at("sample"));
      graph_.replace_uses(inputs[i], cast(value, wanted.dtype, first_));
    }
    for (size_t i = inputs.size(); i-- > 0;) graph_.remove_input(i);
  }

  // One number as one for each row of the sample, or as a list of one.
  Value time_of(Value time, const Dim& length, Value sample) {
    if (length.is_constant()) return node("Reshape", {time, ints({length.value()})}, {}, first_);
    const Value rows = node("Slice", {node("Shape", {sample}, {}, first_), ints({0}), ints({1})}, {}, first_);
    return node("Expand", {time, rows}, {}, first_);
  }

  void adapt_outputs() {
    const std::vector<Value> outputs(graph_.outputs().begin(), graph_.outputs().end());
    std::vector<const Port*> ports = match(graph_, outputs, own_.outputs);
    std::vector<std::pair<Value, std::string>> kept;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const std::string name = graph_.name(outputs[i]);
      if (ports[i]) kept.emplace_back(outputs[i], ports[i]->name);
      // States behind each layer keep their numbers; others nobody asks for.
      if (!ports[i] && name.starts_with("hidden_states.")) kept.emplace_back(outputs[i], name);
    }
    for (const Port& port : own_.outputs) {
      if (port.needed && std::ranges::count(ports, &port) == 0) {
        fail(ErrorCode::unsupported, "no output \"{}\", which {} gives", port.name, own_.what);
      }
    }
    graph_.replace_outputs({});
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (graph_.kind(outputs[i]) == ir::ValueKind::result)
        graph_.rename(outputs[i], graph_.name(outputs[i]) + ".exported");
    }
    for (const auto& [value, name] : kept) graph_.add_output(cast(value, DType::f32, {}), name);
  }

  // At the end of the graph, or before a node.
  Value node(std::string_view op, std::vector<Value> inputs, op::Attributes attributes, ir::NodeId before) {
    const ir::NodeId id = graph_.add_node(op, std::move(inputs), std::move(attributes), "interface", 1, before);
    return graph_.node(id).outputs[0];
  }
  Value ints(std::vector<int64_t> values) {
    const auto count = int64_t(values.size());
    return graph_.add_constant("interface.ints",
                               tensor::Tensor::of<int64_t>({count}, std::span<const int64_t>(values)));
  }
  Value cast(Value value, DType dtype, ir::NodeId before) {
    return graph_.type(value).dtype == dtype ? value : node("Cast", {value}, {{"to", int64_t(dtype)}}, before);
  }

  ir::Graph graph_;
  const Interface& own_;
  ir::NodeId first_;  // of the graph as it came
};

}  // namespace

ir::Graph with_own_interface(ir::Graph graph, const std::string& name) {
  return Adapter(std::move(graph), interface_of(name)).run();
}

}  // namespace lathe::frontend
