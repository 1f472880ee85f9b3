// Graphs inside nodes, written and read back: the same graph, names that ONNX permits, each constant once.
#include "frontend/onnx_export.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "frontend/lowering.h"
#include "frontend/onnx_import.h"
#include "io/onnx_write.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;
using io::OnnxGraph;
using io::OnnxModel;
using io::OnnxNode;
using tensor::Tensor;

// Constants by name count up from 0.
ir::Graph parsed(const std::string& text) {
  return ir::parse(text, [](const std::string& name, tensor::DType dtype, tensor::Encoding, const tensor::Dims& dims) {
    Tensor tensor(dtype, dims);
    for (int64_t i = 0; i < tensor.size(); ++i) set_element(tensor, i, double(i));
    return tensor::memory_source(std::move(tensor), name);
  });
}

OnnxModel written(const ir::Graph& graph, int opset = 18, const std::map<std::string, io::OnnxType>& declared = {}) {
  OnnxExportOptions options;
  options.opset = opset;
  options.declared = declared;
  return to_onnx(lower_to_opset(graph, opset), options);
}

ir::Graph imported(const OnnxModel& model) {
  const fs::path path = fs::temp_directory_path() / fmt::format("lathe_export_{}.onnx", ::getpid());
  io::write_onnx(path, model);
  const auto file = io::OnnxFile::open(path);
  fs::remove(path);  // the mapping stays
  ir::Graph graph = import_onnx(file);
  fs::remove(path.string() + "_data");
  ir::verify(graph);
  return graph;
}

void expect_comes_back(const std::string& text, const std::map<std::string, io::OnnxType>& declared = {}) {
  const ir::Graph graph = parsed(text);
  EXPECT_EQ(ir::print_canonical(imported(written(graph, 18, declared))), ir::print_canonical(graph));
}

const OnnxGraph& body_of(const OnnxNode& node, std::string_view name) {
  const io::OnnxAttribute* attribute = node.find_attribute(name);
  if (!attribute) fail(ErrorCode::invalid_input, "no attribute {}", name);
  return std::get<std::vector<OnnxGraph>>(attribute->value).at(0);
}

std::vector<std::string> names_of(const std::vector<io::OnnxValueInfo>& values) {
  std::vector<std::string> names;
  for (const auto& value : values) names.push_back(value.name);
  return names;
}

std::vector<std::string> initializers_of(const OnnxGraph& graph) {
  std::vector<std::string> names;
  for (const auto& tensor : graph.initializers) names.push_back(tensor.name);
  return names;
}

using Names = std::vector<std::string>;

TEST(OnnxExport, BranchesComeBackWithWhatTheyCapture) {
  expect_comes_back(R"(graph main {
    input %x: f32[n, 4]
    input %c: bool[]
    const %two: f32[] = {2.0}
    %twice = Mul(%x, %two)
    %y, %z = If(%c, %twice, %x) {else_branch = graph e {
      input %twice: f32[n, 4]
      %p = Neg(%twice)
      %q = Abs(%p)
      output %q
      output %p
    }, then_branch = graph t {
      input %x: f32[n, 4]
      const %w: f32[4, 5] = "w" plain
      const %v: f32[5, 4] = "v" plain
      %m = MatMul(%x, %w)
      %a = MatMul(%m, %v)
      %b = Relu(%x)
      output %a
      output %b
    }}
    output %z
    output %y
  })");
}

TEST(OnnxExport, LoopsComeBack) {
  expect_comes_back(R"(graph main {
    input %x: f32[3]
    input %n: i64[]
    input %go: bool[]
    %y, %rows = Loop(%n, %go, %x, %x) {body = graph body {
      input %round: i64[]
      input %again: bool[]
      input %state: f32[3]
      input %x: f32[3]
      %next = Add(%state, %x)
      %cond = Identity(%again)
      %row = Neg(%next)
      output %cond
      output %next
      output %row
    }, num_captures = 1}
    %s, %parts = Scan(%y, %rows) {body = graph scan {
      input %sum: f32[3]
      input %part: f32[3]
      %both = Add(%sum, %part)
      %out = Exp(%both)
      output %both
      output %out
    }, num_captures = 0, num_scan_inputs = 1}
    output %s
    output %parts
  })");
}

TEST(OnnxExport, BodiesInsideBodiesSeeAllGraphsAround) {
  expect_comes_back(R"(graph main {
    input %x: f32[2]
    input %c: bool[]
    input %d: bool[]
    %y = If(%c, %x, %d, %x) {else_branch = graph outer {
      input %x: f32[2]
      input %d: bool[]
      %own = Neg(%x)
      %inner = If(%d, %own, %x) {else_branch = graph first {
        input %own: f32[2]
        %e = Exp(%own)
        output %e
      }, then_branch = graph second {
        input %x: f32[2]
        %t = Abs(%x)
        output %t
      }}
      output %inner
    }, then_branch = graph other {
      input %x: f32[2]
      %r = Relu(%x)
      output %r
    }}
    output %y
  })");
}

// What a sum of a tensor of any rank is only the run knows: the file says what its source said.
TEST(OnnxExport, SequencesAndOptionalsComeBack) {
  io::OnnxType sequence, item;
  item.kind = io::OnnxType::Kind::tensor;
  item.elem_type = int32_t(tensor::DType::f32);
  sequence.kind = io::OnnxType::Kind::sequence;
  sequence.element = {item};
  expect_comes_back(R"g(graph main {
    input %s: sequence(f32)
    input %x: f32[4]
    input %c: bool[]
    %t = SequenceMap(%s, %x) {body = graph each {
      input %item: f32[...]
      input %x: f32[4]
      %sum = Add(%item, %x)
      output %sum
    }, num_captures = 1}
    %o = If(%c, %x) {else_branch = graph none {
      %nothing = Optional() {type = "f32[2, n]"}
      output %nothing
    }, then_branch = graph some {
      input %x: f32[4]
      %something = Optional(%x)
      output %something
    }}
    %has = OptionalHasElement(%o)
    output %t
    output %has
  })g",
                    {{"t", sequence}});
  expect_comes_back(R"g(graph main {
    %nothing = Optional() {type = "sequence(i64)"}
    %rank = Optional() {type = "f16[...]"}
    %has = OptionalHasElement(%nothing)
    %other = OptionalHasElement(%rank)
    output %has
    output %other
  })g");
}

TEST(OnnxExport, NamesOfBodiesAreThoseOfNoGraphAround) {
  const OnnxModel model = written(parsed(R"(graph main {
    input %x: f32[2]
    input %c: bool[]
    %t = Neg(%x)
    %y, %copy = If(%c, %t, %x, %t) {else_branch = graph e {
      input %t: f32[2]
      %x = Abs(%t)
      output %x
      output %t
    }, then_branch = graph f {
      input %inside: f32[2]
      input %t: f32[2]
      %y = Add(%inside, %t)
      %y_1 = Exp(%y)
      output %y
      output %y_1
    }}
    output %y
    output %copy
  })"));
  const OnnxNode& node = model.graph.nodes.at(1);
  EXPECT_EQ(node.inputs, Names{"c"});
  EXPECT_EQ(names_of(model.graph.outputs), (Names{"y", "copy"}));
  const OnnxGraph& first = body_of(node, "else_branch");
  EXPECT_TRUE(first.inputs.empty());
  EXPECT_EQ(names_of(first.outputs), (Names{"x_1", "t_1"}));
  ASSERT_EQ(first.nodes.size(), 2u);
  EXPECT_EQ(first.nodes[0].inputs, Names{"t"});
  EXPECT_EQ(first.nodes[1].op_type, "Identity");  // of what is captured and returned as it is
  EXPECT_EQ(first.nodes[1].inputs, Names{"t"});
  const OnnxGraph& second = body_of(node, "then_branch");
  EXPECT_EQ(second.nodes.at(0).inputs, (Names{"x", "t"}));
  EXPECT_EQ(names_of(second.outputs), (Names{"y_2", "y_1"}));
  EXPECT_EQ(ir::print_canonical(imported(model)), ir::print_canonical(imported(written(imported(model)))));
}

TEST(OnnxExport, ConstantsOfBodiesAreTheirOwnUnlessTheyAreShared) {
  const ir::Graph graph = parsed(R"(graph main {
    input %x: f32[n, 40]
    input %c: bool[]
    const %w: f32[40, 40] = "w" plain
    const %axes: i64[1] = {1}
    %y = If(%c, %x, %w, %x, %w, %axes) {else_branch = graph e {
      input %x: f32[n, 40]
      input %w: f32[40, 40]
      const %own: f32[40] = "own" plain
      %m = MatMul(%x, %w)
      %a = Add(%m, %own)
      output %a
    }, then_branch = graph f {
      input %x: f32[n, 40]
      input %w: f32[40, 40]
      input %axes: i64[1]
      %m = MatMul(%x, %w)
      %s = ReduceMax(%m, %axes)
      %b = Sub(%m, %s)
      output %b
    }}
    output %y
  })");
  const OnnxModel model = written(graph, 17);  // ReduceMax takes its axes as an attribute there
  EXPECT_EQ(initializers_of(model.graph), Names{"w"});
  const OnnxNode& node = model.graph.nodes.at(0);
  EXPECT_EQ(initializers_of(body_of(node, "else_branch")), Names{"own"});
  EXPECT_EQ(initializers_of(body_of(node, "then_branch")), Names{});
  EXPECT_EQ(body_of(node, "else_branch").nodes.at(0).inputs, (Names{"x", "w"}));
  EXPECT_EQ(body_of(node, "then_branch").nodes.at(0).inputs, (Names{"x", "w"}));
  const OnnxNode& reduce = body_of(node, "then_branch").nodes.at(1);
  EXPECT_EQ(reduce.inputs.size(), 1u);
  EXPECT_NE(reduce.find_attribute("axes"), nullptr);
  // A matrix that is read transposed in both branches is stored transposed, once.
  const OnnxModel turned = written(parsed(R"(graph main {
    input %x: f32[n, 40]
    input %c: bool[]
    const %w: f32[30, 40] = "w" plain
    %y = If(%c, %x, %w, %x, %w) {else_branch = graph e {
      input %x: f32[n, 40]
      input %w: f32[30, 40]
      %t = Transpose(%w) {perm = [1, 0]}
      %m = MatMul(%x, %t)
      output %m
    }, then_branch = graph f {
      input %x: f32[n, 40]
      input %w: f32[30, 40]
      %t = Transpose(%w) {perm = [1, 0]}
      %m = MatMul(%x, %t)
      %r = Relu(%m)
      output %r
    }}
    output %y
  })"));
  ASSERT_EQ(turned.graph.initializers.size(), 1u);
  EXPECT_EQ(turned.graph.initializers[0].dims, (tensor::Dims{40, 30}));
  EXPECT_EQ(body_of(turned.graph.nodes.at(0), "then_branch").nodes.size(), 2u);
}

TEST(OnnxExport, OperatorsOfBodiesAreThoseOfTheOpset) {
  const ir::Graph graph = parsed(R"(graph main {
    input %x: f32[2, 3]
    input %n: i64[]
    %y = Loop(%n, _, %x) {body = graph body {
      input %round: i64[]
      input %again: bool[]
      input %state: f32[2, 3]
      %next = Gelu(%state)
      %cond = Identity(%again)
      output %cond
      output %next
    }, num_captures = 0}
    output %y
  })");
  const OnnxModel model = written(graph, 13);
  for (const OnnxNode& node : body_of(model.graph.nodes.at(0), "body").nodes) EXPECT_NE(node.op_type, "Gelu");
  const std::vector<float> x = {-1, 2, 0, -3, 0.5f, 1};
  const std::map<std::string, Tensor> inputs = {{"x", Tensor::of<float>({2, 3}, std::span(x))},
                                                {"n", Tensor::scalar(int64_t{3})}};
  const auto expected = tensor::to_floats(ir::evaluate(graph, inputs).at("y"));
  const auto found = tensor::to_floats(ir::evaluate(imported(model), inputs).at("y"));
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-6);
}

// The input's rank is not known, so nothing after it has a type; a matrix product fits no scalar, and any other rank.
TEST(OnnxExport, ElementTypesWhereOnlyTheRunKnowsTheRank) {
  ir::Graph graph("main");
  const ir::Value x = graph.add_input("x", op::TypeInfo::unranked(tensor::DType::f32));
  const ir::Value w = graph.add_constant("w", Tensor(tensor::DType::f32, {3, 3}));
  const ir::Value product = graph.node(graph.add_node("MatMul", {x, w})).outputs[0];
  const ir::Value greater = graph.node(graph.add_node("Greater", {product, x})).outputs[0];
  graph.add_output(product, "product");
  graph.add_output(greater, "greater");
  ASSERT_EQ(graph.type(product).dtype, tensor::DType::undefined);
  const OnnxModel model = written(graph);
  ASSERT_EQ(model.graph.outputs.size(), 2u);
  EXPECT_EQ(model.graph.outputs[0].type->elem_type, 1);  // FLOAT
  EXPECT_EQ(model.graph.outputs[1].type->elem_type, 9);  // BOOL
  for (const io::OnnxValueInfo& output : model.graph.outputs) EXPECT_FALSE(output.type->shape);
}

TEST(OnnxExport, AnErrorInABodyNamesNodesAndAttribute) {
  const ir::Graph graph = parsed(R"(graph main {
    input %x: f32[2, 2]
    input %c: bool[]
    %y = If(%c, %x, %x) {else_branch = graph e {
      input %x: f32[2, 2]
      %e = Trilu(%x) "deep"
      output %e
    }, then_branch = graph f {
      input %x: f32[2, 2]
      %f = Neg(%x)
      output %f
    }} "outer"
    output %y
  })");
  try {
    lower_to_opset(graph, 13);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    for (const char* word : {"outer", "else_branch", "deep", "since opset 14"}) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace lathe::frontend
