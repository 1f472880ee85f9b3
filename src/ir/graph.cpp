#include "ir/graph.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "tensor/load_in_place.h"

namespace lathe::ir {
namespace {

constexpr int64_t kMaxKnownElements = 256;           // of an integer constant whose elements types carry
constexpr size_t kMaxSmallBytes = size_t{64} << 10;  // of a constant that small_constant reads

// A result's name as part of a symbol: characters that mean something in dimensions are escaped, so that
// different names stay different.
std::string symbol_text(std::string_view name) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(name.size() + 16);
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (plain) {
      text += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    text += {'~', kDigits[byte / 16], kDigits[byte % 16]};
  }
  return text;
}

bool mentions(const tensor::Dim& dim, std::string_view symbol_part) {
  const auto symbols = dim.symbols();
  return std::any_of(symbols.begin(), symbols.end(),
                     [&](const std::string& s) { return s.find(symbol_part) != std::string::npos; });
}

bool mentions(const op::TypeInfo& type, std::string_view symbol_part) {
  const auto in_dim = [&](const tensor::Dim& dim) { return mentions(dim, symbol_part); };
  return std::any_of(type.shape.begin(), type.shape.end(), in_dim) ||
         (type.elements && std::any_of(type.elements->begin(), type.elements->end(), in_dim));
}

std::optional<std::vector<tensor::Dim>> known_elements(const tensor::Tensor* tensor) {
  using tensor::DType;
  if (!tensor || tensor->rank() > 1 || tensor->size() > kMaxKnownElements) return std::nullopt;
  if (tensor->dtype() != DType::i64 && tensor->dtype() != DType::i32) return std::nullopt;
  std::vector<tensor::Dim> elements;
  for (int64_t i = 0; i < tensor->size(); ++i) {
    elements.emplace_back(tensor->dtype() == DType::i64 ? tensor->data<int64_t>()[size_t(i)]
                                                        : tensor->data<int32_t>()[size_t(i)]);
  }
  return elements;
}

std::vector<op::TypeInfo> infer_with(const Graph& graph, const op::OpDef& def, const Node& node,
                                     std::string_view result_name) {
  op::check_signature(def, node.inputs.size(), node.outputs.size(), node.attributes);
  op::InferContext context{.op = node.op,
                           .attributes = node.attributes,
                           .inputs = {},
                           .constants = {},
                           .outputs = std::vector<op::TypeInfo>(node.outputs.size()),
                           .unique_name = symbol_text(result_name)};
  for (const Value input : node.inputs) {
    context.inputs.push_back(input ? &graph.type(input) : nullptr);
    context.constants.push_back(graph.small_constant(input));
  }
  const bool plain = std::all_of(context.inputs.begin(), context.inputs.end(),
                                 [](const op::TypeInfo* input) { return !input || input->is_plain(); });
  if (plain || def.infers_any) {
    def.infer(context);
  } else {
    context.outputs.assign(node.outputs.size(), op::TypeInfo::unranked(tensor::DType::undefined));
  }
  for (const op::TypeInfo& output : context.outputs) {
    LATHE_CHECK(output.dtype != tensor::DType::undefined || !output.ranked, "no type was inferred");
  }
  return std::move(context.outputs);
}

}  // namespace

const Graph::ValueData& Graph::data(Value value) const {
  LATHE_CHECK(value.id >= 0 && size_t(value.id) < values_.size(), "value {} in graph {}", value.id, name_);
  const ValueData& found = values_[size_t(value.id)];
  LATHE_CHECK(!found.name.empty(), "value {} of graph {} was erased", value.id, name_);
  return found;
}

Graph::ValueData& Graph::data(Value value) {
  return const_cast<ValueData&>(static_cast<const Graph&>(*this).data(value));
}

bool Graph::contains(NodeId id) const {
  return id.id >= 0 && size_t(id.id) < nodes_.size() && nodes_[size_t(id.id)].has_value();
}

const Node& Graph::node(NodeId id) const {
  LATHE_CHECK(contains(id), "node {} in graph {}", id.id, name_);
  return *nodes_[size_t(id.id)];
}

Node& Graph::mutable_node(NodeId id) {
  return const_cast<Node&>(node(id));
}

std::string Graph::unique_name(std::string_view wanted) {
  if (!wanted.empty() && !by_name_.contains(wanted)) return std::string(wanted);
  const std::string base = wanted.empty() ? "v" : fmt::format("{}_", wanted);
  int32_t& number = next_number_[base];
  std::string name;
  do {
    name = fmt::format("{}{}", base, ++number);
  } while (by_name_.contains(name));
  return name;
}

Value Graph::new_value(ValueData data) {
  const Value value{int32_t(values_.size())};
  data.name = unique_name(data.name);
  by_name_.emplace(data.name, value);
  values_.push_back(std::move(data));
  return value;
}

Value Graph::add_input(std::string_view name, op::TypeInfo type) {
  LATHE_CHECK(type.dtype != tensor::DType::undefined || !type.ranked, "input {}", name);
  ValueData data;
  data.name = name;
  data.type = std::move(type);
  data.kind = ValueKind::input;
  const Value value = new_value(std::move(data));
  inputs_.push_back(value);
  return value;
}

Value Graph::add_constant(std::string_view name, tensor::SourcePtr source) {
  LATHE_CHECK(source != nullptr, "constant {}", name);
  ValueData data;
  data.name = name;
  data.type = {source->dtype(), tensor::to_shape(source->dims()), std::nullopt};
  data.kind = ValueKind::constant;
  data.source = std::move(source);
  const Value value = new_value(std::move(data));
  std::string source_name =
      name.empty() || by_source_name_.contains(name) ? this->name(value) : std::string(name);
  while (by_source_name_.contains(source_name)) source_name += '_';
  values_[size_t(value.id)].source_name = source_name;
  by_source_name_.emplace(std::move(source_name), value);
  values_[size_t(value.id)].type.elements = known_elements(small_constant(value));
  return value;
}

Value Graph::add_constant(std::string_view name, tensor::Tensor tensor) {
  return add_constant(name, tensor::memory_source(std::move(tensor), std::string(name)));
}

// Takes `name` from whoever has it, unless that one may not change it.
void Graph::claim_name(Value value, std::string_view name) {
  LATHE_CHECK(!name.empty(), "an output needs a name");
  const auto holder = find(name);
  if (holder == value) return;
  if (holder) {
    if (kind(*holder) == ValueKind::input || is_output(*holder)) {
      fail(ErrorCode::invalid_input, "graph {}: two inputs or outputs are called \"{}\"", name_, name);
    }
    rename(*holder, "");
  }
  rename(value, name);
}

void Graph::add_output(Value value, std::string_view name) {
  const bool renamable = kind(value) == ValueKind::result && !is_output(value);
  if (is_output(value) && this->name(value) == name) {
    fail(ErrorCode::invalid_input, "graph {}: output \"{}\" is there twice", name_, name);
  }
  if (!renamable && this->name(value) != name) value = node(add_node("Identity", {value})).outputs[0];
  claim_name(value, name);
  outputs_.push_back(value);
}

std::vector<op::TypeInfo> Graph::infer(const Node& node, std::string_view result_name) const {
  try {
    return infer_with(*this, op::get_op(node.op), node, result_name);
  } catch (Error& error) {  // not with_context: this runs often, and its text is wanted rarely
    error.add_context(fmt::format("node {} ({})", node.name.empty() ? result_name : node.name, node.op));
    throw;
  }
}

std::vector<op::TypeInfo> Graph::inferred_types(NodeId id) const {
  const Node& n = node(id);
  return infer(n, name(n.outputs.at(0)));
}

NodeId Graph::add_node(std::string_view op, std::vector<Value> inputs, op::Attributes attributes,
                       std::string_view name, int outputs, NodeId before) {
  LATHE_CHECK(outputs >= 1, "{}", op);
  Node node{std::string(op), std::string(name), std::move(attributes), std::move(inputs),
            std::vector<Value>(size_t(outputs))};
  const std::string result_name = unique_name(name.empty() ? op : name);
  std::vector<op::TypeInfo> types = infer(node, result_name);

  const NodeId id{int32_t(nodes_.size())};
  const auto at = before ? std::find(order_.begin(), order_.end(), before) : order_.end();
  LATHE_CHECK(!before || at != order_.end(), "node {} to insert before is not in graph {}", before.id, name_);
  order_.insert(at, id);
  for (size_t i = 0; i < types.size(); ++i) {
    ValueData data;
    data.name = i == 0 ? result_name : std::string(name.empty() ? op : name);
    data.type = std::move(types[i]);
    data.producer = id;
    node.outputs[i] = new_value(std::move(data));
  }
  for (const Value input : node.inputs) {
    if (input) this->data(input).users.push_back(id);
  }
  nodes_.push_back(std::move(node));
  return id;
}

std::vector<Value> Graph::constants() const {
  std::vector<Value> used;
  for (size_t i = 0; i < values_.size(); ++i) {
    const ValueData& value = values_[i];
    const Value handle{int32_t(i)};
    if (value.name.empty() || value.kind != ValueKind::constant) continue;
    if (!value.users.empty() || is_output(handle)) used.push_back(handle);
  }
  return used;
}

const std::string& Graph::name(Value value) const {
  return data(value).name;
}
const op::TypeInfo& Graph::type(Value value) const {
  return data(value).type;
}
ValueKind Graph::kind(Value value) const {
  return data(value).kind;
}
NodeId Graph::producer(Value value) const {
  return data(value).producer;
}
std::span<const NodeId> Graph::users(Value value) const {
  return data(value).users;
}

bool Graph::is_output(Value value) const {
  return std::find(outputs_.begin(), outputs_.end(), value) != outputs_.end();
}

const tensor::SourcePtr& Graph::source(Value constant) const {
  const ValueData& found = data(constant);
  LATHE_CHECK(found.kind == ValueKind::constant, "{} is not a constant", found.name);
  return found.source;
}

const std::string& Graph::source_name(Value constant) const {
  source(constant);
  return data(constant).source_name;
}

const tensor::Tensor* Graph::small_constant(Value value) const {
  if (!value) return nullptr;
  const ValueData& found = data(value);
  if (found.kind != ValueKind::constant || found.source->encoding() != tensor::Encoding::plain)
    return nullptr;
  if (found.source->byte_size() > kMaxSmallBytes) return nullptr;
  // Threads that read one graph may both get here first; the loser's copy is dropped.
  auto cached = std::atomic_load(&found.small);
  if (!cached) {
    auto loaded = std::make_shared<const tensor::Tensor>(tensor::load_in_place(found.source));
    if (std::atomic_compare_exchange_strong(&found.small, &cached, loaded)) cached = std::move(loaded);
  }
  return cached.get();
}

std::optional<Value> Graph::find(std::string_view value_name) const {
  const auto it = by_name_.find(value_name);
  if (it == by_name_.end()) return std::nullopt;
  return it->second;
}

void Graph::remove_user(Value value, NodeId user) {
  auto& users = data(value).users;
  const auto it = std::find(users.begin(), users.end(), user);
  LATHE_CHECK(it != users.end(), "node {} is not among the users of {}", user.id, name(value));
  users.erase(it);
}

void Graph::set_input(NodeId id, size_t index, Value value) {
  Node& n = mutable_node(id);
  LATHE_CHECK(index < n.inputs.size(), "input {} of {} ({})", index, n.name, n.op);
  if (value) data(value).users.push_back(id);
  if (n.inputs[index]) remove_user(n.inputs[index], id);
  n.inputs[index] = value;
}

void Graph::set_attribute(NodeId id, std::string name, op::AttributeValue value) {
  mutable_node(id).attributes.set(std::move(name), std::move(value));
}

void Graph::replace_uses(Value from, Value to) {
  LATHE_CHECK(to, "{} replaced by nothing", name(from));
  if (from == to) return;
  const NodeId keep = producer(to);
  const std::vector<NodeId> users = data(from).users;
  for (const NodeId user : users) {
    if (user == keep) continue;
    Node& n = mutable_node(user);
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      if (n.inputs[i] == from) set_input(user, i, to);
    }
  }
  const auto output = std::find(outputs_.begin(), outputs_.end(), from);
  if (output == outputs_.end()) return;
  const auto index = output - outputs_.begin();
  if (kind(to) != ValueKind::result || is_output(to)) to = node(add_node("Identity", {to})).outputs[0];
  outputs_[size_t(index)] = to;
  const std::string output_name = name(from);
  const std::string old_name = name(to);
  rename(to, "");
  rename(from, old_name);
  rename(to, output_name);
}

void Graph::forget(Value value) {
  ValueData& found = data(value);
  by_name_.erase(found.name);
  if (found.kind == ValueKind::constant) by_source_name_.erase(found.source_name);
  found = ValueData();
}

void Graph::erase(NodeId id) {
  const Node& n = node(id);
  for (const Value output : n.outputs) {
    if (!output) continue;
    LATHE_CHECK(users(output).empty() && !is_output(output), "{} is in use", name(output));
  }
  for (const Value input : n.inputs) {
    if (input) remove_user(input, id);
  }
  for (const Value output : n.outputs) {
    if (output) forget(output);
  }
  order_.erase(std::find(order_.begin(), order_.end(), id));
  nodes_[size_t(id.id)].reset();
}

void Graph::rename(Value value, std::string_view name) {
  ValueData& found = data(value);
  if (found.name == name) return;
  const std::string old_symbol = symbol_text(found.name);
  std::string fresh = unique_name(name);
  by_name_.erase(found.name);
  found.name = std::move(fresh);
  by_name_.emplace(found.name, value);
  const NodeId made_by = found.producer;
  if (!made_by || node(made_by).outputs[0] != value) return;
  for (const Value output : node(made_by).outputs) {
    if (output && mentions(type(output), old_symbol)) return infer_types();
  }
}

void Graph::remove_input(size_t index) {
  LATHE_CHECK(index < inputs_.size(), "input {} of {}", index, inputs_.size());
  const Value value = inputs_[index];
  LATHE_CHECK(users(value).empty() && !is_output(value), "input {} is in use", name(value));
  inputs_.erase(inputs_.begin() + std::ptrdiff_t(index));
  forget(value);
}

void Graph::replace_outputs(std::vector<Value> outputs) {
  for (const Value output : outputs) data(output);  // fails for what is not in the graph
  outputs_ = std::move(outputs);
}

void Graph::infer_types() {
  for (const NodeId id : order_) {
    std::vector<op::TypeInfo> types = inferred_types(id);
    const Node& n = node(id);
    for (size_t i = 0; i < types.size(); ++i) {
      if (n.outputs[i]) data(n.outputs[i]).type = std::move(types[i]);
    }
  }
}

void Graph::set_type(Value input, op::TypeInfo type) {
  ValueData& found = data(input);
  LATHE_CHECK(found.kind == ValueKind::input, "{} is not an input", found.name);
  found.type = std::move(type);
}

void Graph::set_source(Value constant, tensor::SourcePtr source) {
  ValueData& found = data(constant);
  LATHE_CHECK(found.kind == ValueKind::constant && source && source->dims() == found.source->dims() &&
                  source->dtype() == found.source->dtype(),
              "constant {}", found.name);
  found.source = std::move(source);
  found.small = nullptr;
}

}  // namespace lathe::ir
