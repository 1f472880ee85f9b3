#include "plan/graph_json.h"

#include <algorithm>

#include "base/checked.h"
#include "base/fields.h"
#include "plan/attribute_json.h"
#include "plan/graph_body.h"
#include "plan/type_text.h"

namespace lathe::plan {
namespace {

using tensor::DType;
using tensor::Tensor;

// An operand is one number: -1 absent, an even one twice the value's index, an odd one twice the constant's and one.
int64_t number_of(const Operand& operand) {
  if (operand.kind == OperandKind::absent) return -1;
  return 2 * operand.index + (operand.kind == OperandKind::constant ? 1 : 0);
}

Operand operand_of(int64_t number) {
  if (number < 0) {
    if (number != -1) fail(ErrorCode::invalid_input, "{} is no operand", number);
    return {};
  }
  return {number % 2 != 0 ? OperandKind::constant : OperandKind::buffer, number / 2};
}

std::vector<int64_t> numbers_of(const std::vector<Operand>& operands) {
  std::vector<int64_t> numbers;
  for (const Operand& operand : operands) numbers.push_back(number_of(operand));
  return numbers;
}

template <class T>
T get(const Json& json, std::string_view key) {
  return with_context(key, [&] {
    T value{};
    from_json(get_member(json, key), value);
    return value;
  });
}

std::vector<Operand> operands_of(const Json& json, std::string_view key) {
  std::vector<Operand> operands;
  for (const int64_t number : get<std::vector<int64_t>>(json, key)) operands.push_back(operand_of(number));
  return operands;
}

const Json::array_t& get_array(const Json& json, std::string_view key) {
  const Json& member = get_member(json, key);
  if (!member.is_array()) with_context(key, [&] { fields::fail_type("array", member); });
  return member.get_ref<const Json::array_t&>();
}

class Writer {
 public:
  // The plan, and behind it, in "bodies", those of its instructions and of theirs: each before the one that uses it.
  Json write(const GraphModel& model) {
    Json plan = plan_json(model);
    if (!bodies_.empty()) plan["bodies"] = std::move(bodies_);
    return plan;
  }

 private:
  Json plan_json(const GraphModel& model) {
    const GraphPlan& plan = model.plan;
    Json json = {{"device", plan.device}};
    Json names = Json::array(), types = Json::array();
    for (const GraphValue& value : plan.values) {
      names.push_back(value.name);
      types.push_back(op::to_string(value.type));
    }
    json["value_names"] = std::move(names);
    json["value_types"] = std::move(types);
    json["constants"] = Json::array();
    for (size_t i = 0; i < plan.constants.size(); ++i) json["constants"].push_back(constant_json(model, i));
    json["instructions"] = Json::array();
    for (const Instruction& instruction : plan.instructions)
      json["instructions"].push_back(instruction_json(instruction));
    json["inputs"] = plan.inputs;
    names = Json::array();
    std::vector<Operand> outputs;
    for (const GraphOutput& output : plan.outputs) {
      names.push_back(output.name);
      outputs.push_back(output.operand);
    }
    json["output_names"] = std::move(names);
    json["outputs"] = numbers_of(outputs);
    return json;
  }

  static Json constant_json(const GraphModel& model, size_t index) {
    const Constant& constant = model.plan.constants[index];
    Json json = {{"name", constant.name}, {"dtype", std::string(to_string(constant.dtype))}, {"dims", constant.dims}};
    if (constant.dtype == DType::string) {
      json["strings"] = model.constants[index].strings();
      return json;
    }
    const bool later = std::find(model.to_pack.begin(), model.to_pack.end(), index) != model.to_pack.end();
    if (constant.layout != "plain") json[later ? "pack_as" : "layout"] = constant.layout;
    json["offset"] = constant.offset;
    json["bytes"] = constant.bytes;
    return json;
  }

  Json instruction_json(const Instruction& instruction) {
    Json json = {{"op", instruction.op},
                 {"name", instruction.name},
                 {"inputs", numbers_of(instruction.inputs)},
                 {"outputs", numbers_of(instruction.outputs)}};
    if (instruction.attributes.empty()) return json;
    const AttributeForms forms{.tensors = true,
                               .number_of_body = [this](const op::SubgraphPtr& body) { return add_body(body); }};
    json["attributes"] = attributes_json(instruction.attributes, forms);
    return json;
  }

  int64_t add_body(const op::SubgraphPtr& graph) {
    const auto* body = dynamic_cast<const GraphBody*>(graph.get());
    LATHE_CHECK(body, "a graph that was not compiled");
    Json json = plan_json(*body->model());
    const auto texts = [](const std::vector<op::TypeInfo>& types) {
      std::vector<std::string> result;
      for (const op::TypeInfo& type : types) result.push_back(op::to_string(type));
      return result;
    };
    json["input_types"] = texts(body->input_types());
    json["output_types"] = texts(body->output_types());
    bodies_.push_back(std::move(json));
    return int64_t(bodies_.size()) - 1;
  }

  Json bodies_ = Json::array();
};

class Reader {
 public:
  explicit Reader(const WeightSection& weights) : weights_(weights) {}

  std::shared_ptr<const GraphModel> read(const Json& json) {
    if (const Json* bodies = find_member(json, "bodies")) {
      if (!bodies->is_array()) fields::fail_type("array", *bodies);
      for (const Json& body : *bodies) {
        auto model = with_context(fmt::format("body {}", bodies_.size()), [&] { return read_body(body); });
        bodies_.push_back(std::move(model));
      }
    }
    auto model = read_plan(json);
    for (size_t i = 0; i < bodies_.size(); ++i) {
      if (bodies_[i]) fail(ErrorCode::invalid_input, "no attribute uses body {}", i);
    }
    return model;
  }

 private:
  std::shared_ptr<const GraphModel> read_plan(const Json& json) {
    if (!json.is_object()) fields::fail_type("object", json);
    auto model = std::make_shared<GraphModel>();
    GraphPlan& plan = model->plan;
    plan.device = get<std::string>(json, "device");
    auto names = get<std::vector<std::string>>(json, "value_names");
    const Json::array_t& types = get_array(json, "value_types");
    if (names.size() != types.size()) fail(ErrorCode::invalid_input, "{} values, {} types", names.size(), types.size());
    for (size_t i = 0; i < names.size(); ++i) plan.values.push_back({std::move(names[i]), read_type(types[i])});
    for (const Json& constant : get_array(json, "constants")) {
      with_context(fmt::format("constant {}", plan.constants.size()), [&] { read_constant(constant, *model); });
    }
    for (const Json& instruction : get_array(json, "instructions")) {
      with_context(fmt::format("instruction {}", plan.instructions.size()),
                   [&] { plan.instructions.push_back(read_instruction(instruction)); });
    }
    plan.inputs = get<std::vector<int64_t>>(json, "inputs");
    auto output_names = get<std::vector<std::string>>(json, "output_names");
    const std::vector<Operand> outputs = operands_of(json, "outputs");
    if (outputs.size() != output_names.size()) {
      fail(ErrorCode::invalid_input, "{} outputs, {} names", outputs.size(), output_names.size());
    }
    for (size_t i = 0; i < outputs.size(); ++i) plan.outputs.push_back({std::move(output_names[i]), outputs[i]});
    return model;
  }

  static op::TypeInfo read_type(const Json& json) {
    if (!json.is_string()) fields::fail_type("string", json);
    return parse_type(json.get_ref<const std::string&>());
  }

  static std::vector<op::TypeInfo> read_types(const Json& json, std::string_view key) {
    std::vector<op::TypeInfo> types;
    for (const Json& type : get_array(json, key)) types.push_back(read_type(type));
    return types;
  }

  op::SubgraphPtr read_body(const Json& json) {
    auto model = read_plan(json);
    auto types = std::make_shared<BodyTypes>(read_types(json, "input_types"), read_types(json, "output_types"));
    return std::make_shared<GraphBody>(std::move(types), std::move(model));
  }

  // Each body is used once, or few bytes could stand for very many sessions.
  op::SubgraphPtr take_body(int64_t number) {
    if (number < 0 || uint64_t(number) >= bodies_.size() || !bodies_[size_t(number)]) {
      fail(ErrorCode::invalid_input, "body {} of {}, each used once behind its place", number, bodies_.size());
    }
    return std::exchange(bodies_[size_t(number)], nullptr);
  }

  Instruction read_instruction(const Json& json) {
    if (!json.is_object()) fields::fail_type("object", json);
    Instruction instruction;
    instruction.op = get<std::string>(json, "op");
    instruction.name = get<std::string>(json, "name");
    instruction.inputs = operands_of(json, "inputs");
    instruction.outputs = operands_of(json, "outputs");
    if (const Json* attributes = find_member(json, "attributes")) {
      const AttributeForms forms{.tensors = true, .body = [this](int64_t number) { return take_body(number); }};
      instruction.attributes = read_attributes(*attributes, forms);
    }
    return instruction;
  }

  void read_constant(const Json& json, GraphModel& model) const {
    if (!json.is_object()) fields::fail_type("object", json);
    Constant constant;
    constant.name = get<std::string>(json, "name");
    constant.dtype = get<DType>(json, "dtype");
    constant.dims = get<std::vector<int64_t>>(json, "dims");
    constant.layout = "plain";
    if (constant.dtype == DType::undefined) fail(ErrorCode::invalid_input, "a constant of no dtype");
    const int64_t count = tensor::element_count(std::span<const int64_t>(constant.dims));
    if (constant.dtype == DType::string) {
      auto strings = get<std::vector<std::string>>(json, "strings");
      if (int64_t(strings.size()) != count) {
        fail(ErrorCode::invalid_input, "expected {} texts, found {}", count, strings.size());
      }
      model.constants.push_back(Tensor::of_strings(constant.dims, std::move(strings)));
      model.plan.constants.push_back(std::move(constant));
      return;
    }
    constant.offset = get<int64_t>(json, "offset");
    constant.bytes = get<int64_t>(json, "bytes");
    if (const auto layout = find_string(json, "pack_as")) {
      if (*layout == "plain") fail(ErrorCode::invalid_input, "\"{}\" is to be packed as it is", constant.name);
      constant.layout = *layout;
      model.to_pack.push_back(model.constants.size());
    } else if (const auto packed = find_string(json, "layout")) {
      constant.layout = *packed;
    }
    const bool packed = constant.layout != "plain" && !json.contains("pack_as");
    if (!packed && uint64_t(constant.bytes) != tensor::byte_size(constant.dtype, count)) {
      fail(ErrorCode::invalid_input, "\"{}\" takes {} bytes, found {}", constant.name,
           tensor::byte_size(constant.dtype, count), constant.bytes);
    }
    const auto bytes = part_of_weights(constant);
    Tensor tensor = packed ? Tensor::view(DType::u8, {constant.bytes}, bytes, weights_.owner)
                           : Tensor::view(constant.dtype, constant.dims, bytes, weights_.owner);
    check_booleans(tensor);
    model.constants.push_back(std::move(tensor));
    model.plan.constants.push_back(std::move(constant));
  }

  std::span<const std::byte> part_of_weights(const Constant& constant) const {
    constexpr int64_t kAlignment = 64;  // kernels load whole vectors
    const auto size = int64_t(weights_.bytes.size());
    const bool inside = constant.offset >= 0 && constant.bytes >= 0 && constant.bytes <= size &&
                        constant.offset <= size - constant.bytes;
    if (inside && constant.offset % kAlignment == 0) {
      return weights_.bytes.subspan(size_t(constant.offset), size_t(constant.bytes));
    }
    fail(ErrorCode::invalid_input, "\"{}\": {} bytes at {} of {} bytes of weights", constant.name, constant.bytes,
         constant.offset, size);
  }

  const WeightSection& weights_;
  std::vector<op::SubgraphPtr> bodies_;  // null: used
};

void check_source(const StoredSource& source, const WeightSection& weights) {
  const int64_t count = tensor::element_count(std::span<const int64_t>(source.dims));
  if (source.dtype == DType::string) {
    if (int64_t(source.strings.size()) == count) return;
    fail(ErrorCode::invalid_input, "\"{}\": expected {} texts, found {}", source.name, count, source.strings.size());
  }
  const auto size = int64_t(weights.bytes.size());
  const bool inside =
      source.offset >= 0 && source.bytes >= 0 && source.bytes <= size && source.offset <= size - source.bytes;
  if (inside && (!source.transposed || source.dims.size() == 2)) return;
  fail(ErrorCode::invalid_input, "\"{}\": {} bytes at {} of {} bytes of weights", source.name, source.bytes,
       source.offset, size);
}

}  // namespace

Json graph_json(const EngineGraph& graph) {
  Json json = {{"name", graph.name}, {"text", graph.text}, {"allow_nonfinite", graph.allow_nonfinite}};
  json["sources"] = to_json(graph.sources);
  json["profile"] = to_json(graph.profile);
  if (graph.precision != contract::Precision::fp32) {  // else as before there were others
    json["precision"] = to_json(graph.precision);
    json["islands"] = to_json(graph.islands);
  }
  json["plan"] = Writer().write(*graph.model);
  return json;
}

EngineGraph read_graph(const Json& json, const WeightSection& weights) {
  if (!json.is_object()) fields::fail_type("object", json);
  EngineGraph graph;
  graph.name = get<std::string>(json, "name");
  return with_context(fmt::format("graph \"{}\"", graph.name), [&] {
    graph.text = get<std::string>(json, "text");
    graph.allow_nonfinite = get<bool>(json, "allow_nonfinite");
    graph.sources = get<std::vector<StoredSource>>(json, "sources");
    for (const StoredSource& source : graph.sources) check_source(source, weights);
    graph.profile = get<std::vector<InputProfile>>(json, "profile");
    if (json.contains("precision")) {
      graph.precision = get<contract::Precision>(json, "precision");
      graph.islands = get<std::vector<Island>>(json, "islands");
    }
    graph.model = with_context("plan", [&] { return Reader(weights).read(get_member(json, "plan")); });
    return std::move(graph);
  });
}

}  // namespace lathe::plan
