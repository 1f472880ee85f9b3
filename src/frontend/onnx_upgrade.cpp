#include "frontend/onnx_upgrade.h"

#include <algorithm>
#include <span>

#include "base/error.h"
#include "op/values.h"

namespace lathe::frontend {
namespace {

using ir::Graph;
using ir::Value;
using Results = std::optional<std::vector<Value>>;

void resize_inputs(PendingNode& node, size_t count) {
  if (node.inputs.size() < count) node.inputs.resize(count);
}

const tensor::Shape& shape_of(const Graph& graph, const PendingNode& node, size_t input) {
  if (input >= node.inputs.size() || !node.inputs[input] || !graph.type(node.inputs[input]).is_plain()) {
    fail(ErrorCode::unsupported, "the old form needs an input {} of known rank", input);
  }
  return graph.type(node.inputs[input]).shape;
}

// An attribute that became input `index`.
void ints_to_input(Graph& graph, PendingNode& node, std::string_view attribute, size_t index) {
  const auto values = node.attributes.find_ints(attribute);
  if (!values) return;
  resize_inputs(node, index + 1);
  node.inputs[index] = add_ints(graph, *values);
  node.attributes.erase(attribute);
}
void int_to_input(Graph& graph, PendingNode& node, std::string_view attribute, size_t index) {
  const auto value = node.attributes.find_int(attribute);
  if (!value) return;
  resize_inputs(node, index + 1);
  node.inputs[index] = add_int(graph, *value);
  node.attributes.erase(attribute);
}
void real_to_input(Graph& graph, PendingNode& node, std::string_view attribute, size_t index) {
  const auto value = node.attributes.find_float(attribute);
  if (!value) return;
  resize_inputs(node, index + 1);
  node.inputs[index] = add_real(graph, graph.type(node.inputs.at(0)).dtype, *value);
  node.attributes.erase(attribute);
}

// Before 7 the second operand was broadcast only where `broadcast` said so, from `axis` on.
Results upgrade_broadcast(Graph& graph, PendingNode& node, int64_t) {
  const bool broadcast = node.attributes.get_int("broadcast", 0) != 0;
  const auto axis = node.attributes.find_int("axis");
  node.attributes.erase("broadcast");
  node.attributes.erase("axis");
  if (!broadcast || !axis) return std::nullopt;
  const int64_t rank = int64_t(shape_of(graph, node, 0).size());
  const int64_t own = int64_t(shape_of(graph, node, 1).size());
  const int64_t first = *axis < 0 ? *axis + rank : *axis;
  if (first < 0 || first + own > rank) fail(ErrorCode::invalid_input, "axis {} of rank {} and {}", *axis, rank, own);
  std::vector<int64_t> inserted;
  for (int64_t i = own; i < rank - first; ++i) inserted.push_back(i);
  if (!inserted.empty()) node.inputs[1] = add(graph, "Unsqueeze", {node.inputs[1], add_ints(graph, inserted)});
  return std::nullopt;
}

// Before 13 the axes from `axis` on were one.
Results upgrade_softmax(Graph& graph, PendingNode& node, int64_t) {
  const tensor::Shape shape = shape_of(graph, node, 0);
  const int64_t rank = int64_t(shape.size());
  int64_t axis = node.attributes.get_int("axis", 1);
  if (axis < 0) axis += rank;
  node.attributes.set("axis", int64_t{-1});
  if (axis == rank - 1) return std::nullopt;
  const Value x = node.inputs.at(0);
  const Value flat = add(graph, "Flatten", {x}, {{"axis", axis}});
  const Value result = add(graph, node.op, {flat}, node.attributes);
  return std::vector<Value>{add(graph, "Reshape", {result, add(graph, "Shape", {x})}, {{"allowzero", int64_t{1}}})};
}

// Before 12 the ratio was an attribute and there was no training mode; before 10 the mask had the data's type.
Results upgrade_dropout(Graph& graph, PendingNode& node, int64_t opset) {
  if (opset < 7 && node.attributes.get_int("is_test", 0) == 0 && node.outputs > 1) {
    fail(ErrorCode::unsupported, "the mask of a random Dropout of opset {}", opset);
  }
  node.attributes.erase("is_test");
  node.attributes.erase("ratio");  // of no effect where nothing is dropped
  if (opset >= 10 || node.outputs == 1) return std::nullopt;
  const Value x = node.inputs.at(0);
  const Value ones = add(graph, "CastLike", {add(graph, "Equal", {x, x}), x});
  return std::vector<Value>{add(graph, "Identity", {x}), ones};
}

Results upgrade_batch_normalization(Graph&, PendingNode& node, int64_t opset) {
  if (node.attributes.get_int("spatial", 1) == 0) fail(ErrorCode::unsupported, "spatial = 0 has no newer form");
  if (opset < 7 && node.attributes.get_int("is_test", 0) == 0 && node.outputs > 1) {
    fail(ErrorCode::unsupported, "training before opset 7");
  }
  for (const char* name : {"spatial", "is_test"}) node.attributes.erase(name);
  if (node.outputs > 1) fail(ErrorCode::unsupported, "outputs of training before opset 14");
  return std::nullopt;
}

Results upgrade_clip(Graph& graph, PendingNode& node, int64_t) {
  real_to_input(graph, node, "min", 1);
  real_to_input(graph, node, "max", 2);
  return std::nullopt;
}

Results upgrade_pad(Graph& graph, PendingNode& node, int64_t opset) {
  if (opset < 2) fail(ErrorCode::unsupported, "Pad of opset 1");
  ints_to_input(graph, node, "pads", 1);
  real_to_input(graph, node, "value", 2);
  return std::nullopt;
}

Results upgrade_slice(Graph& graph, PendingNode& node, int64_t) {
  ints_to_input(graph, node, "starts", 1);
  ints_to_input(graph, node, "ends", 2);
  ints_to_input(graph, node, "axes", 3);
  return std::nullopt;
}

Results upgrade_top_k(Graph& graph, PendingNode& node, int64_t) {
  const auto k = node.attributes.find_int("k");
  if (!k) return std::nullopt;
  node.attributes.erase("k");
  resize_inputs(node, 2);
  node.inputs[1] = add_ints(graph, {*k});
  return std::nullopt;
}

// Upsample, and Resize of opset 10: positions are scaled without an offset and rounded down.
void set_asymmetric(PendingNode& node) {
  node.op = "Resize";
  node.attributes.set("coordinate_transformation_mode", std::string("asymmetric"));
  node.attributes.set("nearest_mode", std::string("floor"));
  if (node.attributes.get_string("mode", "nearest") == "bilinear") node.attributes.set("mode", std::string("linear"));
}

Results upgrade_upsample(Graph& graph, PendingNode& node, int64_t) {
  if (const auto scales = node.attributes.find_floats("scales")) {
    node.attributes.erase("scales");
    resize_inputs(node, 2);
    node.inputs[1] = graph.add_constant("scales", op::store(tensor::DType::f32, {int64_t(scales->size())}, *scales));
  }
  if (node.inputs.size() != 2) fail(ErrorCode::unsupported, "an Upsample without scales");
  node.inputs.insert(node.inputs.begin() + 1, Value());
  set_asymmetric(node);
  return std::nullopt;
}

Results upgrade_resize_10(Graph&, PendingNode& node, int64_t) {
  resize_inputs(node, 2);
  node.inputs.insert(node.inputs.begin() + 1, Value());
  set_asymmetric(node);
  return std::nullopt;
}

// Before 13 inputs that were not wanted were empty lists.
Results upgrade_resize(Graph& graph, PendingNode& node, int64_t) {
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (!node.inputs[i]) continue;
    const op::TypeInfo& type = graph.type(node.inputs[i]);
    if (type.is_plain() && type.shape.size() == 1 && type.shape[0] == tensor::Dim(0)) node.inputs[i] = {};
  }
  if (node.attributes.get_string("coordinate_transformation_mode", "") == "tf_half_pixel_for_nn") {
    fail(ErrorCode::unsupported, "coordinate_transformation_mode tf_half_pixel_for_nn");
  }
  return std::nullopt;
}

Results upgrade_axes(Graph& graph, PendingNode& node, int64_t) {
  ints_to_input(graph, node, "axes", 1);
  return std::nullopt;
}

Results upgrade_split(Graph& graph, PendingNode& node, int64_t) {
  ints_to_input(graph, node, "split", 1);
  return std::nullopt;
}

Results upgrade_reshape(Graph& graph, PendingNode& node, int64_t) {
  ints_to_input(graph, node, "shape", 1);
  return std::nullopt;
}

Results upgrade_cast(Graph&, PendingNode& node, int64_t) {
  static const std::map<std::string, tensor::DType> kTypes = {
      {"FLOAT", tensor::DType::f32},  {"UINT8", tensor::DType::u8},     {"INT8", tensor::DType::i8},
      {"UINT16", tensor::DType::u16}, {"INT16", tensor::DType::i16},    {"INT32", tensor::DType::i32},
      {"INT64", tensor::DType::i64},  {"BOOL", tensor::DType::boolean}, {"FLOAT16", tensor::DType::f16},
      {"DOUBLE", tensor::DType::f64}, {"UINT32", tensor::DType::u32},   {"UINT64", tensor::DType::u64}};
  const std::string to = node.attributes.get_string("to", "");
  const auto it = kTypes.find(to);
  if (it == kTypes.end()) fail(ErrorCode::unsupported, "Cast to \"{}\"", to);
  node.attributes.set("to", int64_t(it->second));
  return std::nullopt;
}

Results upgrade_gemm(Graph&, PendingNode& node, int64_t) {
  node.attributes.erase("broadcast");
  return std::nullopt;
}

Results upgrade_concat(Graph&, PendingNode& node, int64_t) {
  if (!node.attributes.has("axis")) node.attributes.set("axis", int64_t{1});
  return std::nullopt;
}

Results upgrade_scatter(Graph&, PendingNode& node, int64_t) {
  node.op = "ScatterElements";
  return std::nullopt;
}

Results upgrade_recurrent(Graph&, PendingNode& node, int64_t) {
  node.attributes.erase("output_sequence");
  return std::nullopt;
}

// Before 20 the axis was an attribute, 1 by default.
Results upgrade_dft(Graph& graph, PendingNode& node, int64_t) {
  if (!node.attributes.has("axis")) node.attributes.set("axis", int64_t{1});
  int_to_input(graph, node, "axis", 2);
  return std::nullopt;
}

// The specification has signals [batch, length, 1 or 2]; ONNX Runtime takes real ones without the last axis, too, and
// torch's exporters write them so.
Results upgrade_stft(Graph& graph, PendingNode& node, int64_t) {
  if (shape_of(graph, node, 0).size() == 2) {
    node.inputs[0] = add(graph, "Unsqueeze", {node.inputs[0], add_ints(graph, {2})});
  }
  return std::nullopt;
}

Results upgrade_grid_sample(Graph&, PendingNode& node, int64_t) {
  const std::string mode = node.attributes.get_string("mode", "bilinear");
  if (mode == "bilinear") node.attributes.set("mode", std::string("linear"));
  if (mode == "bicubic") node.attributes.set("mode", std::string("cubic"));
  return std::nullopt;
}

// Before 9 a slope of one axis belonged to the channels.
Results upgrade_p_relu(Graph& graph, PendingNode& node, int64_t) {
  const int64_t rank = int64_t(shape_of(graph, node, 0).size());
  const tensor::Shape& slope = shape_of(graph, node, 1);
  if (slope.size() != 1 || slope[0] == tensor::Dim(1) || rank < 3) return std::nullopt;
  std::vector<int64_t> inserted;
  for (int64_t i = 1; i < rank - 1; ++i) inserted.push_back(i);
  node.inputs[1] = add(graph, "Unsqueeze", {node.inputs[1], add_ints(graph, inserted)});
  return std::nullopt;
}

// Opset 18 had a scale and a bias for each group, 21 for each channel.
Results upgrade_group_normalization(Graph& graph, PendingNode& node, int64_t) {
  const tensor::Dim channels = shape_of(graph, node, 0).at(1);
  const int64_t groups = node.attributes.get_int("num_groups", 1);
  if (!channels.is_constant() || groups < 1 || channels.value() % groups != 0) {
    fail(ErrorCode::unsupported, "GroupNormalization of {} channels in {} groups", channels.to_string(), groups);
  }
  const Value each = add_ints(graph, {groups, channels.value() / groups});
  for (const size_t i : {size_t{1}, size_t{2}}) {
    const Value column = add(graph, "Unsqueeze", {node.inputs.at(i), add_ints(graph, {1})});
    node.inputs[i] = add(graph, "Reshape", {add(graph, "Expand", {column, each}), add_ints(graph, {-1})});
  }
  return std::nullopt;
}

// Before 16 positions were those of the output, without a shift by half an element.
Results upgrade_roi_align(Graph&, PendingNode& node, int64_t) {
  node.attributes.set("coordinate_transformation_mode", std::string("output_half_pixel"));
  return std::nullopt;
}

constexpr int64_t kAnyOpset = 999;
constexpr int64_t kRetired = 1000;  // whatever the opset says, the operator has another name now

struct Upgrade {
  std::string_view op;
  int64_t until;  // of opsets below this one
  Results (*apply)(Graph&, PendingNode&, int64_t opset);
};

// Of one operator in the order in which they apply.
constexpr Upgrade kUpgrades[] = {
    {"Add", 7, upgrade_broadcast},
    {"And", 7, upgrade_broadcast},
    {"BatchNormalization", 14, upgrade_batch_normalization},
    {"Cast", 6, upgrade_cast},
    {"Clip", 11, upgrade_clip},
    {"Concat", 4, upgrade_concat},
    {"DFT", 20, upgrade_dft},
    {"Div", 7, upgrade_broadcast},
    {"Dropout", 12, upgrade_dropout},
    {"Equal", 7, upgrade_broadcast},
    {"GRU", 7, upgrade_recurrent},
    {"Gemm", 7, upgrade_gemm},
    {"Greater", 7, upgrade_broadcast},
    {"GridSample", 20, upgrade_grid_sample},
    {"GroupNormalization", 21, upgrade_group_normalization},
    {"Hardmax", 13, upgrade_softmax},
    {"LSTM", 7, upgrade_recurrent},
    {"Less", 7, upgrade_broadcast},
    {"LogSoftmax", 13, upgrade_softmax},
    {"Mul", 7, upgrade_broadcast},
    {"Or", 7, upgrade_broadcast},
    {"PRelu", 9, upgrade_p_relu},
    {"Pad", 11, upgrade_pad},
    {"Pow", 7, upgrade_broadcast},
    {"RNN", 7, upgrade_recurrent},
    {"Reshape", 5, upgrade_reshape},
    {"Resize", 11, upgrade_resize_10},
    {"Resize", 13, upgrade_resize},
    {"RoiAlign", 16, upgrade_roi_align},
    {"STFT", kAnyOpset, upgrade_stft},
    {"Scatter", kRetired, upgrade_scatter},
    {"Slice", 10, upgrade_slice},
    {"Softmax", 13, upgrade_softmax},
    {"Split", 13, upgrade_split},
    {"Squeeze", 13, upgrade_axes},
    {"Sub", 7, upgrade_broadcast},
    {"TopK", 10, upgrade_top_k},
    {"Unsqueeze", 13, upgrade_axes},
    {"Upsample", kRetired, upgrade_upsample},
    {"Xor", 7, upgrade_broadcast},
};

}  // namespace

bool is_retired_op(std::string_view op) {
  return std::any_of(std::begin(kUpgrades), std::end(kUpgrades),
                     [&](const Upgrade& upgrade) { return upgrade.op == op && upgrade.until == kRetired; });
}

Value add(Graph& graph, std::string_view op, std::vector<Value> inputs, op::Attributes attributes) {
  return graph.node(graph.add_node(op, std::move(inputs), std::move(attributes))).outputs[0];
}

Value add_ints(Graph& graph, const std::vector<int64_t>& values) {
  return graph.add_constant("ints", tensor::Tensor::of<int64_t>({int64_t(values.size())}, std::span(values)));
}

Value add_int(Graph& graph, int64_t value) {
  return graph.add_constant("int", tensor::Tensor::scalar(value));
}

Value add_real(Graph& graph, tensor::DType dtype, double value) {
  return graph.add_constant("real", op::store(dtype, {}, std::vector<double>{value}));
}

Results upgrade_node(Graph& graph, PendingNode& node, int64_t opset) {
  if (opset < 6) node.attributes.erase("consumed_inputs");  // a hint of the first opsets, without a meaning
  for (const Upgrade& upgrade : kUpgrades) {
    if (upgrade.op != node.op || opset >= upgrade.until) continue;
    if (auto results = upgrade.apply(graph, node, opset)) return results;
    if (node.op != upgrade.op) break;  // it has become another operator in its newest form
  }
  const op::OpDef* def = op::find_op(node.op);
  if (def && opset < def->axes_input_since) ints_to_input(graph, node, "axes", 1);
  return std::nullopt;
}

}  // namespace lathe::frontend
