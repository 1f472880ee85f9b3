// Importing ONNX: names and scopes, functions, graphs inside nodes, older opsets, refusals.
#include "frontend/onnx_import.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "frontend/onnx_export.h"
#include "io/onnx_write.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;
using io::OnnxAttribute;
using io::OnnxAttributeType;
using io::OnnxGraph;
using io::OnnxModel;
using io::OnnxNode;
using tensor::Tensor;

OnnxNode node(std::string op, std::vector<std::string> inputs, std::vector<std::string> outputs,
              std::vector<OnnxAttribute> attributes = {}) {
  OnnxNode result;
  result.op_type = std::move(op);
  result.inputs = std::move(inputs);
  result.outputs = std::move(outputs);
  result.attributes = std::move(attributes);
  return result;
}

template <class T>
OnnxAttribute attribute(std::string name, OnnxAttributeType type, T value) {
  OnnxAttribute result;
  result.name = std::move(name);
  result.type = type;
  result.value = std::move(value);
  return result;
}

io::OnnxValueInfo value(std::string name, tensor::DType dtype, const std::vector<int64_t>& dims) {
  io::OnnxValueInfo info;
  info.name = std::move(name);
  io::OnnxType& type = info.type.emplace();
  type.kind = io::OnnxType::Kind::tensor;
  type.elem_type = int32_t(dtype);
  type.shape.emplace();
  for (const int64_t dim : dims) type.shape->push_back({dim, ""});
  return info;
}

OnnxModel model(int64_t opset, std::vector<OnnxNode> nodes) {
  OnnxModel result;
  result.ir_version = 8;
  result.opsets = {{"", opset}};
  result.graph.name = "main";
  result.graph.nodes = std::move(nodes);
  result.graph.inputs = {value("x", tensor::DType::f32, {2, 3})};
  result.graph.outputs = {value("y", tensor::DType::f32, {})};
  result.graph.outputs[0].type->shape.reset();
  return result;
}

ir::Graph imported(const OnnxModel& model) {
  const fs::path path = fs::temp_directory_path() / fmt::format("lathe_import_{}.onnx", ::getpid());
  io::write_onnx(path, model);
  const auto file = io::OnnxFile::open(path);
  fs::remove(path);  // the mapping stays
  return import_onnx(file);
}

std::vector<float> run(const OnnxModel& model, const std::vector<float>& x = {1, 2, 3, 4, 5, 6}) {
  const ir::Graph graph = imported(model);
  ir::verify(graph);
  return tensor::to_floats(ir::evaluate(graph, {{"x", Tensor::of<float>({2, 3}, std::span(x))}}).at("y"));
}

std::string refusal(const OnnxModel& model, ErrorCode code) {
  try {
    imported(model);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(OnnxImport, FunctionsAreInlinedWithTheirAttributes) {
  OnnxModel m = model(18, {node("Scaled", {"x"}, {"y"}, {attribute("alpha", OnnxAttributeType::f32, 0.5f)})});
  m.graph.nodes[0].domain = "mine";
  m.opsets.push_back({"mine", 1});
  io::OnnxFunction& function = m.functions.emplace_back();
  function.domain = "mine";
  function.name = "Scaled";
  function.inputs = {"a", "missing"};
  function.outputs = {"c"};
  function.attributes = {"alpha"};
  function.opsets = {{"", 18}};
  OnnxAttribute reference = attribute("alpha", OnnxAttributeType::f32, 0.0f);
  reference.value = {};
  reference.ref_attr_name = "alpha";
  function.nodes = {node("LeakyRelu", {"a"}, {"x"}, {reference}), node("Neg", {"x"}, {"c"})};
  EXPECT_EQ(run(m, {-2, 2, 0, -4, 4, 8}), (std::vector<float>{1, -2, -0.0f, 2, -4, -8}));
}

TEST(OnnxImport, FunctionsThatCallThemselvesAreRefused) {
  OnnxModel m = model(18, {node("Again", {"x"}, {"y"})});
  m.graph.nodes[0].domain = "mine";
  m.opsets.push_back({"mine", 1});
  io::OnnxFunction& function = m.functions.emplace_back();
  function.domain = "mine";
  function.name = "Again";
  function.inputs = {"a"};
  function.outputs = {"b"};
  function.opsets = {{"", 18}, {"mine", 1}};
  function.nodes = {node("Again", {"a"}, {"b"})};
  function.nodes[0].domain = "mine";
  refusal(m, ErrorCode::invalid_input);
}

// Thirty functions that each call the next one twice would be a thousand million nodes.
TEST(OnnxImport, FunctionsThatMultiplyAreRefused) {
  OnnxModel m = model(18, {node("F0", {"x"}, {"y"})});
  m.graph.nodes[0].domain = "mine";
  m.opsets.push_back({"mine", 1});
  for (int i = 0; i < 30; ++i) {
    io::OnnxFunction& function = m.functions.emplace_back();
    function.domain = "mine";
    function.name = fmt::format("F{}", i);
    function.inputs = {"a"};
    function.outputs = {"c"};
    function.opsets = {{"", 18}, {"mine", 1}};
    const std::string next = i == 29 ? "Neg" : fmt::format("F{}", i + 1);
    function.nodes = {node(next, {"a"}, {"b"}), node(next, {"b"}, {"c"})};
    for (OnnxNode& call : function.nodes) call.domain = i == 29 ? "" : "mine";
  }
  refusal(m, ErrorCode::resource);
}

TEST(OnnxImport, BodiesSeeWhatIsAroundThem) {
  OnnxGraph inner;
  inner.name = "inner";
  inner.nodes = {node("Add", {"x", "shift"}, {"inner_y"})};
  inner.outputs = {value("inner_y", tensor::DType::f32, {2, 3})};
  OnnxGraph plain;
  plain.name = "plain";
  plain.nodes = {node("Identity", {"x"}, {"plain_y"})};
  plain.outputs = {value("plain_y", tensor::DType::f32, {2, 3})};
  // An If in a branch of an If: what it uses comes from two graphs further out.
  OnnxGraph outer;
  outer.name = "outer";
  outer.nodes = {node("If", {"condition"}, {"outer_y"},
                      {attribute("then_branch", OnnxAttributeType::graph, std::vector<OnnxGraph>{inner}),
                       attribute("else_branch", OnnxAttributeType::graph, std::vector<OnnxGraph>{plain})})};
  outer.outputs = {value("outer_y", tensor::DType::f32, {2, 3})};
  OnnxModel m =
      model(18, {node("ReduceSum", {"x"}, {"sum"}, {attribute("keepdims", OnnxAttributeType::i64, int64_t{0})}),
                 node("Greater", {"sum", "zero"}, {"condition"}), node("Neg", {"sum"}, {"shift"}),
                 node("If", {"condition"}, {"y"},
                      {attribute("then_branch", OnnxAttributeType::graph, std::vector<OnnxGraph>{outer}),
                       attribute("else_branch", OnnxAttributeType::graph, std::vector<OnnxGraph>{plain})})});
  m.graph.initializers = {io::OnnxTensor::of("zero", Tensor::scalar(0.0f))};
  EXPECT_EQ(run(m, {1, 1, 1, 1, 1, 1}), (std::vector<float>{-5, -5, -5, -5, -5, -5}));
  EXPECT_EQ(run(m, {-1, 0, 0, 0, 0, 0}), (std::vector<float>{-1, 0, 0, 0, 0, 0}));
}

TEST(OnnxImport, AllUnknownOperatorsAreNamedAtOnce) {
  const std::string text =
      refusal(model(18, {node("Fancy", {"x"}, {"a"}), node("Fancier", {"a"}, {"y"})}), ErrorCode::unsupported);
  EXPECT_NE(text.find("Fancy (a)"), std::string::npos) << text;
  EXPECT_NE(text.find("Fancier (y)"), std::string::npos) << text;
}

TEST(OnnxImport, NamesAreDefinedOnceAndBeforeUse) {
  refusal(model(18, {node("Neg", {"later"}, {"y"}), node("Neg", {"x"}, {"later"})}), ErrorCode::invalid_input);
  refusal(model(18, {node("Neg", {"x"}, {"y"}), node("Abs", {"x"}, {"y"})}), ErrorCode::invalid_input);
  OnnxModel nameless = model(18, {node("Neg", {"x"}, {"y"})});
  nameless.graph.outputs[0].name = "";
  refusal(nameless, ErrorCode::invalid_input);
  refusal(model(28, {node("Neg", {"x"}, {"y"})}), ErrorCode::unsupported);
}

TEST(OnnxImport, SparseInitializersAreMadeDense) {
  OnnxModel m = model(18, {node("Add", {"x", "s"}, {"y"})});
  io::OnnxSparseTensor& sparse = m.graph.sparse_initializers.emplace_back();
  sparse.values = io::OnnxTensor::of("s", Tensor::of<float>({2}, {10, 20}));
  sparse.indices = io::OnnxTensor::of("", Tensor::of<int64_t>({2, 2}, {0, 1, 1, 2}));
  sparse.dims = {2, 3};
  EXPECT_EQ(run(m), (std::vector<float>{1, 12, 3, 4, 5, 26}));
  sparse.indices = io::OnnxTensor::of("", Tensor::of<int64_t>({2, 2}, {0, 1, 1, 3}));
  m.graph.sparse_initializers[0] = sparse;
  refusal(m, ErrorCode::invalid_input);
}

// What the specification of the old opset says, worked out by hand.
TEST(OnnxImport, OldFormsMeanWhatTheyMeant) {
  const auto ints = [](std::string name, std::vector<int64_t> v) {
    return attribute(std::move(name), OnnxAttributeType::ints, std::move(v));
  };
  const auto real = [](std::string name, float v) { return attribute(std::move(name), OnnxAttributeType::f32, v); };
  EXPECT_EQ(run(model(6, {node("Clip", {"x"}, {"y"}, {real("min", 2), real("max", 4)})})),
            (std::vector<float>{2, 2, 3, 4, 4, 4}));
  EXPECT_EQ(run(model(9, {node("Slice", {"x"}, {"y"}, {ints("starts", {1}), ints("ends", {3}), ints("axes", {1})})})),
            (std::vector<float>{2, 3, 5, 6}));
  EXPECT_EQ(run(model(10, {node("Pad", {"x"}, {"y"}, {ints("pads", {0, 1, 0, 0}), real("value", 9)})})),
            (std::vector<float>{9, 1, 2, 3, 9, 4, 5, 6}));
  EXPECT_EQ(run(model(9, {node("Dropout", {"x"}, {"y"}, {real("ratio", 0.9f)})})),
            (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(run(model(11, {node("ReduceSum", {"x"}, {"y"}, {ints("axes", {0})})})), (std::vector<float>{5, 7, 9}));
  // Axis 0: all six values are one distribution.
  const auto softmax =
      run(model(12, {node("Softmax", {"x"}, {"y"}, {attribute("axis", OnnxAttributeType::i64, int64_t{0})})}),
          {0, 0, 0, 0, 0, 0});
  EXPECT_FLOAT_EQ(softmax[0], 1.0f / 6);
}

TEST(OnnxImport, BroadcastOfOldOpsetsStartsAtItsAxis) {
  OnnxModel m = model(6, {node("Add", {"x", "b"}, {"y"},
                               {attribute("broadcast", OnnxAttributeType::i64, int64_t{1}),
                                attribute("axis", OnnxAttributeType::i64, int64_t{0})})});
  m.graph.initializers = {io::OnnxTensor::of("b", Tensor::of<float>({2}, {10, 20}))};
  EXPECT_EQ(run(m), (std::vector<float>{11, 12, 13, 24, 25, 26}));
}

// Exporters' texts for lengths they do not know are no names: such lengths may differ. Names are lengths that agree.
TEST(OnnxImport, TextsThatNameNoLength) {
  OnnxModel nameless = model(18, {node("Identity", {"x"}, {"y"})});
  auto& shape = nameless.graph.inputs[0].type->shape;
  for (const char* text : {"?", "None", "-1"}) {
    shape = {{std::string(text), ""}, {std::string(text), ""}};
    EXPECT_EQ(run(nameless), (std::vector<float>{1, 2, 3, 4, 5, 6})) << text;
  }
  shape = {{std::string("n"), ""}, {std::string("n"), ""}};
  EXPECT_THROW(run(nameless), Error);
}

// ONNX Runtime takes real signals without the last axis of 1, and exporters write them so.
TEST(OnnxImport, SignalsOfTwoAxesAreReal) {
  OnnxModel frames = model(17, {node("STFT", {"x", "step", "", "length"}, {"y"},
                                     {attribute("onesided", OnnxAttributeType::i64, int64_t{0})})});
  for (const auto& [name, number] : {std::pair{"step", 1}, std::pair{"length", 2}}) {
    frames.graph.initializers.push_back(io::OnnxTensor::of(name, Tensor::scalar(int64_t{number})));
  }
  // Of rows (1, 2, 3) and (4, 5, 6), frames of two: their sum and their difference, real and imaginary.
  const std::vector<float> expected = {3, 0, -1, 0, 5, 0, -1, 0, 9, 0, -1, 0, 11, 0, -1, 0};
  const std::vector<float> found = run(frames);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-6f) << i;
}

TEST(OnnxExport, OtherDomainsAndTypesThatAreNotPlainComeBack) {
  OnnxModel m = model(18, {node("Scaler", {"x"}, {"scaled"},
                                {attribute("offset", OnnxAttributeType::floats, std::vector<float>{1}),
                                 attribute("scale", OnnxAttributeType::floats, std::vector<float>{2})}),
                           node("SequenceConstruct", {"scaled"}, {"s"}), node("SequenceAt", {"s", "first"}, {"y"})});
  m.graph.nodes[0].domain = "ai.onnx.ml";
  m.opsets.push_back({"ai.onnx.ml", 3});
  m.graph.initializers = {io::OnnxTensor::of("first", Tensor::scalar(int64_t{0}))};
  const std::vector<float> expected{0, 2, 4, 6, 8, 10};
  EXPECT_EQ(run(m), expected);
  OnnxExportOptions options;
  const OnnxModel written = to_onnx(imported(m), options);
  EXPECT_EQ(written.graph.nodes[0].domain, "ai.onnx.ml");
  EXPECT_EQ(written.graph.nodes[0].op_type, "Scaler");
  EXPECT_FALSE(written.graph.outputs[0].type->shape.has_value());
  EXPECT_EQ(run(written), expected);
}

}  // namespace
}  // namespace lathe::frontend
