#include "ir/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::ir {
namespace {

using tensor::Dim;
using tensor::DType;
using tensor::Tensor;
using ::testing::ElementsAre;

op::TypeInfo f32(std::initializer_list<Dim> dims) {
  return {DType::f32, dims, std::nullopt};
}

template <class Body>
void expect_error(ErrorCode code, std::string_view part, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "no error; expected " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << error.what();
  }
}

// x -> Relu -> a -> Add(a, w) -> sum
struct Small {
  Graph graph;
  Value x, w, a, sum;
  NodeId relu, add;

  Small() {
    x = graph.add_input("x", f32({Dim::symbol("n"), 2}));
    w = graph.add_constant("w", Tensor::of<float>({2}, {1, 2}));
    relu = graph.add_node("Relu", {x}, {}, "first");
    a = graph.node(relu).outputs[0];
    add = graph.add_node("Add", {a, w}, {}, "second");
    sum = graph.node(add).outputs[0];
    graph.add_output(sum, "sum");
  }
};

TEST(Graph, BuildsAndInfers) {
  Small s;
  EXPECT_EQ(op::to_string(s.graph.type(s.sum)), "f32[n, 2]");
  EXPECT_EQ(s.graph.name(s.a), "first");
  EXPECT_EQ(s.graph.name(s.sum), "sum");
  EXPECT_EQ(s.graph.find("sum"), s.sum);
  EXPECT_EQ(s.graph.producer(s.sum), s.add);
  EXPECT_FALSE(s.graph.producer(s.w));
  EXPECT_THAT(s.graph.users(s.a), ElementsAre(s.add));
  EXPECT_THAT(s.graph.nodes(), ElementsAre(s.relu, s.add));
  EXPECT_THAT(s.graph.constants(), ElementsAre(s.w));
  EXPECT_NO_THROW(verify(s.graph));
}

TEST(Graph, NamesStayUnique) {
  Graph g;
  const Value x = g.add_input("x", f32({}));
  EXPECT_EQ(g.name(g.add_input("x", f32({}))), "x_1");
  EXPECT_EQ(g.name(g.add_input("", f32({}))), "v1");
  EXPECT_EQ(g.name(g.node(g.add_node("Relu", {x})).outputs[0]), "Relu");
  const Value second = g.node(g.add_node("Relu", {x})).outputs[0];
  EXPECT_EQ(g.name(second), "Relu_1");
  g.rename(second, "x");
  EXPECT_EQ(g.name(second), "x_2");
  EXPECT_FALSE(g.find("Relu_1").has_value());
}

TEST(Graph, ConstantsKeepTheNameTheyWereAddedUnder) {
  Graph g;
  const Value w = g.add_constant("model.norm.weight", Tensor::of<float>({1}, {1}));
  g.rename(w, "norm");
  EXPECT_EQ(g.source_name(w), "model.norm.weight");
  const Value other = g.add_constant("model.norm.weight", Tensor::of<float>({1}, {2}));
  EXPECT_NE(g.source_name(other), "model.norm.weight");
}

TEST(Graph, AFailedNodeLeavesNothing) {
  Small s;
  const std::string before = print(s.graph);
  const Value bad = s.graph.add_constant("bad", Tensor::of<float>({3}, {1, 2, 3}));
  expect_error(ErrorCode::invalid_input, "node third (Add)",
               [&] { s.graph.add_node("Add", {s.a, bad}, {}, "third"); });
  expect_error(ErrorCode::unsupported, "NoSuchOp", [&] { s.graph.add_node("NoSuchOp", {s.a}); });
  EXPECT_EQ(print(s.graph), before);
  EXPECT_NO_THROW(verify(s.graph));
}

TEST(Graph, InsertsBeforeANode) {
  Small s;
  const NodeId neg = s.graph.add_node("Neg", {s.x}, {}, "", 1, s.relu);
  s.graph.set_input(s.relu, 0, s.graph.node(neg).outputs[0]);
  EXPECT_THAT(s.graph.nodes(), ElementsAre(neg, s.relu, s.add));
  EXPECT_THAT(s.graph.users(s.x), ElementsAre(neg));
  EXPECT_NO_THROW(verify(s.graph));
}

TEST(Graph, UsersCountEachUse) {
  Graph g;
  const Value x = g.add_input("x", f32({}));
  const NodeId add = g.add_node("Add", {x, x});
  EXPECT_THAT(g.users(x), ElementsAre(add, add));
  const Value y = g.add_input("y", f32({}));
  g.replace_uses(x, y);
  EXPECT_TRUE(g.users(x).empty());
  EXPECT_THAT(g.users(y), ElementsAre(add, add));
}

TEST(Graph, OutputNamesMoveWithReplacedUses) {
  Small s;
  s.graph.replace_uses(s.sum, s.a);
  EXPECT_THAT(s.graph.outputs(), ElementsAre(s.a));
  EXPECT_EQ(s.graph.name(s.a), "sum");
  EXPECT_EQ(s.graph.name(s.sum), "first");
  s.graph.erase(s.add);
  EXPECT_TRUE(s.graph.constants().empty());
  EXPECT_NO_THROW(verify(s.graph));
}

TEST(Graph, AnInputInPlaceOfAnOutputIsCopied) {
  Small s;
  s.graph.replace_uses(s.sum, s.x);
  const Value output = s.graph.outputs()[0];
  EXPECT_EQ(s.graph.name(output), "sum");
  EXPECT_EQ(s.graph.node(s.graph.producer(output)).op, "Identity");
  EXPECT_EQ(s.graph.name(s.x), "x");
  EXPECT_NO_THROW(verify(s.graph));
}

TEST(Graph, ANodeInsertedAfterAValueKeepsReadingIt) {
  Small s;
  const NodeId neg = s.graph.add_node("Neg", {s.a}, {}, "", 1, s.add);
  s.graph.replace_uses(s.a, s.graph.node(neg).outputs[0]);
  EXPECT_EQ(s.graph.node(neg).inputs[0], s.a);
  EXPECT_EQ(s.graph.node(s.add).inputs[0], s.graph.node(neg).outputs[0]);
  EXPECT_NO_THROW(verify(s.graph));
}

TEST(Graph, OneResultUnderTwoOutputNames) {
  Small s;
  s.graph.add_output(s.sum, "again");
  s.graph.add_output(s.w, "weights");
  ASSERT_EQ(s.graph.outputs().size(), 3u);
  EXPECT_EQ(s.graph.name(s.graph.outputs()[0]), "sum");
  EXPECT_EQ(s.graph.name(s.graph.outputs()[1]), "again");
  EXPECT_EQ(s.graph.name(s.graph.outputs()[2]), "weights");
  EXPECT_NO_THROW(verify(s.graph));
  expect_error(ErrorCode::invalid_input, "sum", [&] { s.graph.add_output(s.a, "sum"); });
}

TEST(Graph, AnOutputTakesItsNameFromAResult) {
  Small s;
  const Value other = s.graph.node(s.graph.add_node("Neg", {s.sum})).outputs[0];
  s.graph.add_output(other, "first");
  EXPECT_EQ(s.graph.name(other), "first");
  EXPECT_NE(s.graph.name(s.a), "first");
  EXPECT_NO_THROW(verify(s.graph));
}

TEST(Graph, ErasingWhatIsInUseIsABug) {
  Small s;
  expect_error(ErrorCode::internal, "first", [&] { s.graph.erase(s.relu); });
  expect_error(ErrorCode::internal, "sum", [&] { s.graph.erase(s.add); });
  expect_error(ErrorCode::internal, "", [&] { s.graph.name(Value{99}); });
}

TEST(Graph, TypesFollowAChangedInput) {
  Small s;
  s.graph.set_type(s.x, f32({7, 2}));
  EXPECT_EQ(op::to_string(s.graph.type(s.sum)), "f32[n, 2]");
  s.graph.infer_types();
  EXPECT_EQ(op::to_string(s.graph.type(s.sum)), "f32[7, 2]");
}

TEST(Graph, SymbolsOfARenamedResultFollow) {
  Graph g;
  const Value limit = g.add_input("limit", {DType::i64, {}, std::nullopt});
  const Value zero = g.add_constant("", Tensor::scalar<int64_t>(0));
  const Value one = g.add_constant("", Tensor::scalar<int64_t>(1));
  const Value range = g.node(g.add_node("Range", {zero, limit, one})).outputs[0];
  const Value user = g.node(g.add_node("Neg", {range})).outputs[0];
  g.rename(range, "positions");
  EXPECT_NO_THROW(verify(g));
  EXPECT_EQ(g.type(user).shape, g.type(range).shape);
  const auto symbols = g.type(range).shape[0].symbols();
  ASSERT_EQ(symbols.size(), 1u);
  EXPECT_NE(symbols[0].find("positions"), std::string::npos);
}

TEST(Graph, CopiesAreIndependent) {
  Small s;
  const std::string before = print(s.graph);
  Graph copy = s.graph;
  copy.replace_uses(s.sum, s.a);
  copy.erase(s.add);
  EXPECT_EQ(print(s.graph), before);
  EXPECT_EQ(copy.nodes().size(), 1u);
  EXPECT_NO_THROW(verify(s.graph));
  EXPECT_NO_THROW(verify(copy));
}

TEST(Graph, SmallConstants) {
  Graph g;
  const Value small = g.add_constant("small", Tensor::of<int64_t>({2}, {3, 4}));
  const Value large = g.add_constant("large", Tensor(DType::f32, {65, 256}));  // 66,560 bytes
  ASSERT_NE(g.small_constant(small), nullptr);
  EXPECT_EQ(g.small_constant(small)->data<int64_t>()[1], 4);
  EXPECT_EQ(g.small_constant(small), g.small_constant(small));
  EXPECT_EQ(g.small_constant(large), nullptr);
  ASSERT_TRUE(g.type(small).elements.has_value());
  EXPECT_EQ((*g.type(small).elements)[0], Dim(3));
}

TEST(Graph, AnySymbolIsWrittenAndReadBack) {
  for (const char* symbol : {"a b", "2n", "a,b", "a]", "a+b", "\"", "-", "Min(4096, s0)"}) {
    Graph g("main");
    g.add_output(g.add_input("x", f32({Dim::symbol(symbol)})), "y");
    const Graph back = parse(print(g), {});
    EXPECT_EQ(back.type(back.inputs()[0]).shape[0], Dim::symbol(symbol)) << print(g);
  }
}

// Each broken invariant is found; the graphs are broken through the rewriting functions.
TEST(Verify, UseBeforeDefinition) {
  Small s;
  s.graph.set_input(s.relu, 0, s.sum);
  expect_error(ErrorCode::internal, "before it is defined", [&] { verify(s.graph); });
}

TEST(Verify, ReplacementThatComesTooLate) {
  Small s;
  const Value late = s.graph.node(s.graph.add_node("Neg", {s.x})).outputs[0];
  s.graph.replace_uses(s.a, late);
  expect_error(ErrorCode::internal, "before it is defined", [&] { verify(s.graph); });
}

TEST(Verify, AbsentRequiredInput) {
  Small s;
  s.graph.set_input(s.add, 1, Value{});
  expect_error(ErrorCode::internal, "second", [&] { verify(s.graph); });
}

TEST(Verify, StaleType) {
  Small s;
  const Value wide = s.graph.add_constant("wide", Tensor(DType::f32, {5, 1, 2}));
  s.graph.set_input(s.add, 1, wide);
  expect_error(ErrorCode::internal, "inferred f32[5, n, 2]", [&] { verify(s.graph); });
  s.graph.infer_types();
  EXPECT_NO_THROW(verify(s.graph));
}

TEST(Verify, TypesThatDoNotFit) {
  Small s;
  const Value ints = s.graph.add_constant("ints", Tensor::of<int64_t>({2}, {1, 2}));
  s.graph.set_input(s.add, 1, ints);
  expect_error(ErrorCode::internal, "second", [&] { verify(s.graph); });
}

TEST(Verify, UnknownOrWrongAttribute) {
  Small s;
  s.graph.set_attribute(s.relu, "alpha", 1.0);
  expect_error(ErrorCode::internal, "alpha", [&] { verify(s.graph); });
}

TEST(Verify, OutputTwice) {
  Small s;
  s.graph.replace_outputs({s.sum, s.sum});
  expect_error(ErrorCode::internal, "twice", [&] { verify(s.graph); });
}

}  // namespace
}  // namespace lathe::ir
