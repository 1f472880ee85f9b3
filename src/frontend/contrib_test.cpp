// Operators of com.microsoft: what their expansions are made of, and what is refused. What they compute is in
// tests/frontend/contrib, which `lathe conformance` runs.
#include "frontend/contrib.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/error.h"
#include "frontend/contrib/packed_codes.h"
#include "io/onnx.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;
using op::TypeInfo;
using tensor::Dim;
using tensor::DType;
using tensor::Tensor;

TypeInfo floats(std::initializer_list<Dim> dims) {
  return {DType::f32, dims};
}

// A graph with inputs of these types (undefined: omitted), and one node on them.
struct Case {
  std::string_view op;
  std::vector<TypeInfo> inputs;
  op::Attributes attributes = {};
  int outputs = 1;
};

struct Expanded {
  ir::Graph graph;
  Results results;
};

Expanded expanded(const Case& of) {
  Expanded result;
  PendingNode node{
      .op = std::string(of.op), .name = "it", .inputs = {}, .attributes = of.attributes, .outputs = of.outputs};
  for (const TypeInfo& type : of.inputs) {
    node.inputs.push_back(type.dtype == DType::undefined ? Value() : result.graph.add_input("x", type));
  }
  result.results = expand_contrib(result.graph, *find_contrib("com.microsoft", of.op), node);
  ir::verify(result.graph);
  return result;
}

std::string refusal(const Case& of, ErrorCode code) {
  try {
    expanded(of);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << of.op << ": no error";
  return "";
}

bool has_node(const ir::Graph& graph, std::string_view op) {
  for (const ir::NodeId id : graph.nodes()) {
    if (graph.node(id).op == op) return true;
  }
  return false;
}

Case n_bits(std::vector<TypeInfo> further = {}, op::Attributes attributes = {}) {
  Case result{"MatMulNBits",
              {floats({Dim::symbol("batch"), 64}), {DType::u8, {8, 2, 16}}, floats({8, 2})},
              {{"K", int64_t{64}}, {"N", int64_t{8}}, {"block_size", int64_t{32}}}};
  result.inputs.insert(result.inputs.end(), further.begin(), further.end());
  for (const auto& [name, value] : attributes) result.attributes.set(name, value);
  return result;
}

Case group_query(op::Attributes attributes, std::vector<TypeInfo> further = {}, int outputs = 1) {
  Case result{"GroupQueryAttention",
              {floats({2, 3, 32}), floats({2, 3, 16}), floats({2, 3, 16}), {}, {}, {DType::i32, {2}}, {DType::i32, {}}},
              {{"num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}},
              outputs};
  result.inputs.insert(result.inputs.end(), further.begin(), further.end());
  for (const auto& [name, value] : attributes) result.attributes.set(name, value);
  return result;
}

TEST(Contrib, EveryOperatorHasAnExpansionOrAReason) {
  std::set<std::string_view> names;
  for (const ContribOp* op : all_contrib_ops()) {
    EXPECT_TRUE(names.insert(op->name).second) << op->name << " is there twice";
    EXPECT_NE(op->expand == nullptr, op->refusal.empty()) << op->name;
  }
  EXPECT_GT(names.size(), 50u);
  EXPECT_EQ(find_contrib("com.microsoft", "Conv"), nullptr);
  EXPECT_EQ(find_contrib("", "MatMulNBits"), nullptr);
  EXPECT_EQ(find_contrib("com.microsoft.nchwc", "FusedConv"), nullptr);
  EXPECT_FALSE(contrib_refusal("com.microsoft.nchwc", "Conv").empty());
  EXPECT_TRUE(contrib_refusal("com.microsoft", "Conv").empty());
  EXPECT_NE(find_contrib("", "SimplifiedLayerNormalization"), nullptr);
}

// A new operator without a case would go unnoticed.
TEST(Contrib, EveryOperatorHasACase) {
  std::set<std::string> tested;
  for (const auto& entry : fs::directory_iterator(fs::path(LATHE_TESTS_DIR) / "frontend/contrib")) {
    const auto file = io::OnnxFile::open(entry.path() / "model.onnx");
    for (const io::OnnxNode& node : file->model().graph.nodes) tested.insert(node.op_type);
  }
  for (const ContribOp* op : all_contrib_ops()) {
    EXPECT_EQ(tested.contains(std::string(op->name)), op->refusal.empty()) << op->name;
  }
}

// docs/contrib-operators.md lists what is read; the list is held to the table.
TEST(Contrib, EveryOperatorIsInTheList) {
  std::ifstream file(fs::path(LATHE_TESTS_DIR).parent_path() / "docs/contrib-operators.md");
  const std::string page((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  for (const ContribOp* op : all_contrib_ops()) {
    EXPECT_NE(page.find(fmt::format("`{}`", op->name)), std::string::npos) << op->name;
  }
}

TEST(Contrib, WhatIsNotHonouredIsNamed) {
  EXPECT_NE(refusal({"Gelu", {floats({2})}, {{"fast", int64_t{1}}}}, ErrorCode::unsupported).find("\"fast\""),
            std::string::npos);
  EXPECT_NE(refusal(n_bits({{}, {DType::i32, {64}}}), ErrorCode::unsupported).find("g_idx"), std::string::npos);
  EXPECT_NE(refusal({"EPContext", {floats({2})}}, ErrorCode::unsupported).find("original model"), std::string::npos);
  EXPECT_NE(refusal({"GemmFloat8", {floats({2})}}, ErrorCode::unsupported).find("8-bit"), std::string::npos);
  refusal(n_bits({}, {{"bits", int64_t{3}}}), ErrorCode::unsupported);
  refusal(n_bits({}, {{"weight_prepacked", int64_t{1}}}), ErrorCode::unsupported);
  for (const char* name : {"sliding_window_cache", "qk_output", "kv_cache_bit_width"}) {
    EXPECT_NE(refusal(group_query({{name, int64_t{1}}}), ErrorCode::unsupported).find(name), std::string::npos);
  }
  refusal(group_query({{"k_quant_type", std::string("PER_TENSOR")}}), ErrorCode::unsupported);
  refusal(group_query({{"local_window_size", int64_t{0}}}), ErrorCode::unsupported);
  const Case rotary{
      "RotaryEmbedding", {floats({1, 3, 8}), {DType::i64, {1, 3}}, floats({8, 4}), floats({8, 4})}, {{"scale", 2.0}}};
  EXPECT_NE(refusal(rotary, ErrorCode::unsupported).find("scale"), std::string::npos);
  const op::Attributes heads{{"num_heads", int64_t{2}}};
  refusal(
      {"MultiHeadAttention", {floats({2, 3, 8}), floats({2, 3, 8}), floats({2, 3, 8}), {}, {DType::i32, {8}}}, heads},
      ErrorCode::unsupported);
  refusal({"Attention", {floats({2, 3, 8}), floats({8, 24})}, {{"num_heads", int64_t{2}}, {"do_rotary", int64_t{1}}}},
          ErrorCode::unsupported);
  refusal({"FusedConv", {floats({1, 2, 4, 4}), floats({2, 2, 3, 3})}, {{"activation", std::string("Mish")}}},
          ErrorCode::unsupported);
  refusal({"Inverse", {floats({Dim::symbol("n"), Dim::symbol("n")})}}, ErrorCode::unsupported);
  refusal(
      {"QLinearAdd",
       {{DType::u8, {2}}, floats({2}), {DType::u8, {2}}, {DType::u8, {2}}, floats({}), {DType::u8, {}}, floats({})}},
      ErrorCode::unsupported);
}

TEST(Contrib, NodesThatBreakTheSignatureAreInvalid) {
  refusal({"BiasGelu", {floats({2})}}, ErrorCode::invalid_input);
  refusal({"Gelu", {floats({2}), floats({2})}}, ErrorCode::invalid_input);
  refusal({"Gelu", {floats({2})}, {}, 2}, ErrorCode::invalid_input);
  refusal({"MatMulNBits", n_bits().inputs, {{"N", int64_t{8}}}}, ErrorCode::invalid_input);
  refusal(n_bits({}, {{"block_size", int64_t{33}}}), ErrorCode::invalid_input);
  refusal(n_bits({}, {{"N", int64_t{9}}}), ErrorCode::invalid_input);
  refusal(n_bits({}, {{"N", int64_t{1} << 62}, {"K", int64_t{1} << 62}}), ErrorCode::invalid_input);
  refusal(n_bits({{DType::u8, {8, 3}}}), ErrorCode::invalid_input);
  refusal(group_query({{"kv_num_heads", int64_t{3}}}), ErrorCode::invalid_input);
  refusal(group_query({{"do_rotary", int64_t{1}}}), ErrorCode::invalid_input);
  refusal(group_query({{"do_rotary", int64_t{1}}}, {floats({}), floats({})}), ErrorCode::invalid_input);
  refusal({"Inverse", {floats({2, 3})}}, ErrorCode::invalid_input);
  refusal({"QLinearConcat", {floats({}), {DType::u8, {}}, {DType::u8, {2}}}, {{"axis", int64_t{0}}}},
          ErrorCode::invalid_input);
}

// What is stored stays as it lies there: no values in floats, no copy for codes with zero points.
TEST(Contrib, StoredCodesAreNotWidened) {
  for (const bool zeros : {false, true}) {
    ir::Graph graph;
    PendingNode node{.op = "MatMulNBits", .name = "it", .inputs = {}, .attributes = n_bits().attributes};
    const Tensor codes(DType::u8, {8, 2, 16});
    node.inputs = {graph.add_input("a", floats({Dim::symbol("rows"), 64})), graph.add_constant("codes", codes),
                   graph.add_constant("scales", Tensor(DType::f32, {8, 2}))};
    if (zeros) node.inputs.push_back(graph.add_constant("zeros", Tensor(DType::u8, {8, 1})));
    const Results results = expand_contrib(graph, *find_contrib("com.microsoft", "MatMulNBits"), node);
    EXPECT_EQ(op::to_string(graph.type(results[0])), "f32[rows, 8]");
    for (const ir::NodeId id : graph.nodes()) {
      if (graph.node(id).op != "DequantizeLinear") continue;
      const tensor::SourcePtr source = graph.source(graph.node(id).inputs[0]);
      EXPECT_EQ(source->dtype(), zeros ? DType::u4 : DType::i4);
      EXPECT_EQ(source->dims(), (tensor::Dims{8, 64}));
      EXPECT_EQ(source->contiguous().has_value(), zeros);
      if (zeros) {
        EXPECT_EQ(source->contiguous()->data(), codes.bytes().data());
      }
    }
  }
}

// All ways of reading what was repacked give the same: codes out of bytes, and bytes out of codes.
TEST(Contrib, RepackedSourcesAreReadInParts) {
  Tensor codes(DType::u8, {4, 2, 8});
  for (int64_t i = 0; i < codes.size(); ++i) tensor::set_element(codes, i, double(i * 37 % 256));
  ir::Graph graph;
  const Builder b(graph);
  const PackedMatrix matrix{.bits = 4, .rows = 4, .columns = 32, .block_size = 16};
  const Value weights = dequantize(b, matrix, graph.add_constant("codes", codes),
                                   graph.add_constant("scales", Tensor(DType::f32, {4, 2})), {});
  const tensor::SourcePtr centred = graph.source(graph.node(graph.producer(weights)).inputs[0]);
  ASSERT_EQ(centred->dtype(), DType::i4);
  const Tensor all = tensor::load(*centred);
  EXPECT_EQ(tensor::element_as_double(all, 2), 37 % 16 - 8);
  const tensor::SourcePtr bytes = packed_bytes(centred);
  EXPECT_EQ(bytes->dims(), (tensor::Dims{4, 16}));
  const Tensor again = tensor::load(*bytes);
  EXPECT_TRUE(std::ranges::equal(again.bytes(), std::as_const(codes).bytes()));
  for (const int64_t begin : {0, 4, 28}) {
    std::array<std::byte, 4> part{};
    centred->read_part(1, 2, begin, 4, part);
    EXPECT_EQ(part[0], all.bytes()[size_t(16 + begin / 2)]);
    EXPECT_EQ(part[3], all.bytes()[size_t(32 + begin / 2 + 1)]);
    bytes->read_part(1, 2, begin / 2, 2, part);
    EXPECT_EQ(part[3], again.bytes()[size_t(32 + begin / 2 + 1)]);
  }
}

// Of a batch of one whose cache is full, Attention's own past and causality; lengths by row only where they may differ.
TEST(Contrib, FullCachesNeedNoMask) {
  const auto past = Dim::symbol("past");
  for (const bool batch : {false, true}) {
    const Dim rows = batch ? Dim::symbol("batch") : Dim(1);
    const TypeInfo cache = floats({rows, 2, past, 8});
    Case of = group_query({});
    of.inputs = {floats({rows, 1, 32}),
                 floats({rows, 1, 16}),
                 floats({rows, 1, 16}),
                 cache,
                 cache,
                 {DType::i32, {rows}},
                 {DType::i32, {}, std::vector<Dim>{past + Dim(1)}}};
    of.outputs = 3;
    const Expanded result = expanded(of);
    EXPECT_EQ(has_node(result.graph, "TensorScatter"), batch);
    EXPECT_FALSE(has_node(result.graph, "Slice"));
    EXPECT_EQ(op::to_string(result.graph.type(result.results[1])),
              fmt::format("f32[{}, 2, past + 1, 8]", rows.to_string()));
  }
}

}  // namespace
}  // namespace lathe::frontend
