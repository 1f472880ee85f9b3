#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "ir/graph.h"

namespace lathe::ir {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::Encoding;
using tensor::Tensor;

Graph graph_of(std::string_view text) {
  return parse(text, {});
}

Tensor floats(Dims dims, std::vector<float> values) {
  return Tensor::of<float>(std::move(dims), std::span<const float>(values));
}

TEST(Evaluate, ComputesOutputs) {
  const Graph g = graph_of(R"(graph g {
    input %x: f32[n, 2]
    const %w: f32[2, 3] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}
    const %b: f32[3] = {0.5, 0.0, -100.0}
    %m = MatMul(%x, %w)
    %s = Add(%m, %b)
    %y = Relu(%s)
    output %y
  })");
  const auto results = evaluate(g, {{"x", floats({1, 2}, {1, 10})}});
  ASSERT_EQ(results.size(), 1u);
  // [1, 10] W = [41, 52, 63]
  EXPECT_EQ(tensor::to_floats(results.at("y")), (std::vector<float>{41.5f, 52, 0}));
  EXPECT_EQ(results.at("y").dims(), (Dims{1, 3}));
}

TEST(Evaluate, InputsAndConstantsCanBeOutputs) {
  const Graph g = graph_of("graph g { input %x: f32[1] const %c: i64[2] = {4, 5} output %x output %c }");
  const auto results = evaluate(g, {{"x", floats({1}, {7})}});
  EXPECT_EQ(results.at("x").data<float>()[0], 7);
  EXPECT_EQ(results.at("c").data<int64_t>()[1], 5);
}

TEST(Evaluate, OnlyWhatIsWanted) {
  const Graph g = graph_of(R"(graph g {
    input %x: f32[1] input %unneeded: f32[1]
    %a = Neg(%x) %b = Relu(%unneeded) %c = Neg(%a)
    output %b output %c })");
  std::vector<std::string> seen;
  EvaluateOptions options;
  options.results = {*g.find("a")};
  options.observe = [&](Value value, const Tensor&) {
    seen.push_back(g.name(value));
    return true;
  };
  const auto results = evaluate(g, {{"x", floats({1}, {7})}}, options);
  EXPECT_EQ(results.at("a").data<float>()[0], -7);
  EXPECT_EQ(results.size(), 1u);
  EXPECT_EQ(seen, std::vector<std::string>{"a"});
}

TEST(Evaluate, ObserveCanStop) {
  const Graph g = graph_of(R"(graph g { input %x: f32[1] %a = Neg(%x) %b = Neg(%a) output %a output %b })");
  EvaluateOptions options;
  options.observe = [&](Value, const Tensor&) { return false; };
  const auto results = evaluate(g, {{"x", floats({1}, {7})}}, options);
  EXPECT_TRUE(results.contains("a"));
  EXPECT_FALSE(results.contains("b"));
}

void expect_refused(const Graph& g, const std::map<std::string, Tensor>& inputs, std::string_view part) {
  try {
    evaluate(g, inputs);
    ADD_FAILURE() << "accepted; expected " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << error.what();
  }
}

TEST(Evaluate, RefusesInputsThatDoNotFit) {
  const Graph g = graph_of(R"(graph g {
    input %x: f32[n, 2] input %y: f32[n, 2] %z = Add(%x, %y) output %z })");
  const Tensor good = floats({1, 2}, {1, 2});
  expect_refused(g, {{"x", good}}, "\"y\"");
  expect_refused(g, {{"x", good}, {"y", good}, {"q", good}}, "\"q\"");
  expect_refused(g, {{"x", good}, {"y", Tensor(DType::f64, {1, 2})}}, "f64");
  expect_refused(g, {{"x", good}, {"y", Tensor(DType::f32, {2})}}, "f32[2]");
  expect_refused(g, {{"x", good}, {"y", Tensor(DType::f32, {1, 3})}}, "found 3");
  expect_refused(g, {{"x", good}, {"y", Tensor(DType::f32, {2, 2})}}, "dimension n");
}

TEST(Evaluate, SymbolsAreSolvedInAnyOrder) {
  const Graph g = graph_of(R"(graph g {
    input %a_mask: f32[past + sequence] input %ids: f32[sequence] input %twice: f32[2*k - 1]
    output %a_mask output %ids output %twice })");
  const auto bindings = bind_symbols(g, {{"a_mask", Tensor(DType::f32, {7})},
                                         {"ids", Tensor(DType::f32, {3})},
                                         {"twice", Tensor(DType::f32, {9})}});
  EXPECT_EQ(bindings.at("sequence"), 3);
  EXPECT_EQ(bindings.at("past"), 4);
  EXPECT_EQ(bindings.at("k"), 5);
  EXPECT_THROW(bind_symbols(g, {{"twice", Tensor(DType::f32, {8})}}), Error);
  EXPECT_THROW(bind_symbols(g, {{"a_mask", Tensor(DType::f32, {2})}, {"ids", Tensor(DType::f32, {3})}}),
               Error);
}

TEST(Evaluate, ErrorsNameTheNode) {
  const Graph g = graph_of(R"(graph g {
    input %x: f32[2] input %i: i64[1] %y = Gather(%x, %i) "look.up" output %y })");
  try {
    evaluate(g, {{"x", floats({2}, {1, 2})}, {"i", Tensor::of<int64_t>({1}, {5})}});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string_view(error.what()).find("node look.up (Gather)"), std::string_view::npos)
        << error.what();
  }
}

TEST(Evaluate, AShapeThatContradictsInferenceIsAnError) {
  // Inference takes %a's symbol for the sum; with a = 1 it is b's length instead.
  const Graph g = graph_of("graph g { input %x: f32[a] input %y: f32[b] %z = Add(%x, %y) output %z }");
  EXPECT_NO_THROW(evaluate(g, {{"x", Tensor(DType::f32, {3})}, {"y", Tensor(DType::f32, {3})}}));
  expect_refused(g, {{"x", Tensor(DType::f32, {1})}, {"y", Tensor(DType::f32, {3})}}, "%z");
}

// A source that counts how often it is read, and how many bytes of it are given away at a time.
class CountingSource : public tensor::Source {
 public:
  CountingSource(Dims dims, int* reads, int* drops)
      : Source(DType::f32, Encoding::plain, std::move(dims), "counting"), reads_(reads), drops_(drops) {}
  void read_rows(int64_t, int64_t, std::span<std::byte> out) const override {
    ++*reads_;
    std::memset(out.data(), 0, out.size());
  }
  void drop_rows(int64_t, int64_t) const override { ++*drops_; }

 private:
  int* reads_;
  int* drops_;
};

TEST(Evaluate, LargeConstantsComeWhenNeededAndGoAfterTheirLastUser) {
  Graph g;
  const Value x = g.add_input("x", {DType::f32, {1}, std::nullopt});
  int reads = 0;
  int drops = 0;
  const Value w = g.add_constant("w", std::make_shared<CountingSource>(Dims{200, 100}, &reads, &drops));
  const Value first = g.node(g.add_node("Neg", {x})).outputs[0];
  const Value second = g.node(g.add_node("Add", {first, w})).outputs[0];
  const Value third = g.node(g.add_node("Mul", {second, w})).outputs[0];
  const Value last = g.node(g.add_node("Neg", {third})).outputs[0];
  g.add_output(last, "y");
  EXPECT_EQ(reads, 0);
  EvaluateOptions options;
  std::vector<std::pair<int, int>> seen;  // reads and drops when each result appears
  options.observe = [&](Value, const Tensor&) {
    seen.emplace_back(reads > 0, drops);
    return true;
  };
  evaluate(g, {{"x", floats({1}, {1})}}, options);
  EXPECT_EQ(seen, (std::vector<std::pair<int, int>>{{0, 0}, {1, 0}, {1, 0}, {1, 1}}));
}

TEST(Evaluate, EncodedConstantsAreDequantised) {
  // Q8_0: blocks of 32, an f16 scale and 32 int8 (ggml's block_q8_0). Scale 0.5 (0x3800), values 0..31.
  Tensor block(DType::u8, {34});
  auto bytes = block.data<uint8_t>();
  bytes[1] = 0x38;
  for (uint8_t i = 0; i < 32; ++i) bytes[2u + i] = i;
  Graph g;
  const Value w = g.add_constant(
      "w", tensor::mapped_source(DType::f32, Encoding::q8_0, {1, 32}, block.bytes(), nullptr, "test"));
  const Value y = g.node(g.add_node("Neg", {w})).outputs[0];
  g.add_output(y, "y");
  const auto values = tensor::to_floats(evaluate(g, {}).at("y"));
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(values[i], -0.5f * float(i));
  EXPECT_NE(print(g).find("const %w: f32[1, 32] = \"w\" q8_0"), std::string::npos);
}

}  // namespace
}  // namespace lathe::ir
