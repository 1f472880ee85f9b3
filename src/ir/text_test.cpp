#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "base/error.h"
#include "ir/graph.h"
#include "ir/literals.h"

namespace lathe::ir {
namespace {

using tensor::Dim;
using tensor::DType;
using tensor::Encoding;
using tensor::Tensor;

// Every constant that is named in text: zeros.
tensor::SourcePtr zeros(const std::string& name, DType dtype, Encoding encoding, const tensor::Dims& dims) {
  if (encoding != Encoding::plain) fail(ErrorCode::unsupported, "{} is encoded", name);
  return tensor::memory_source(Tensor(dtype, dims), name);
}

constexpr std::string_view kExample = R"(graph main {
  input %x: f32[batch, past + sequence, 4]
  input %"odd name: \"quoted\"": i64[]
  const %w: f32[4, 8] = "model.w" plain
  const %norm: f32[4] = {1.0, -0.0, 1e-05, inf} "model.norm.weight"
  const %flags: bool[2] = {true, false}
  const %none: i64[0] = {}
  const %half: bf16[2] = {1.0, 0.099609375}
  const %big: u64[] = {18446744073709551615}
  %h: f32[batch, past + sequence, 4] = Mul(%x, %norm) "layers.0.norm"
  %y: f32[batch, past + sequence, 8] = MatMul(%h, %w)
  %c: f32[batch, past + sequence, 8] = Clip(%y, _, %top) {}
  output %y
  output %x
}
)";

TEST(Text, PrintsWhatItParsed) {
  std::string text(kExample);
  // Without the Clip line: %top is not defined there.
  text.erase(text.find("  %c:"), text.find("  output") - text.find("  %c:"));
  // Constants that nothing uses are not printed.
  const Graph graph = parse(text, zeros);
  EXPECT_NO_THROW(verify(graph));
  for (const char* unused : {"%flags", "%none", "%half", "%big"}) {
    const size_t at = text.find(fmt::format("  const {}", unused));
    text.erase(at, text.find('\n', at) + 1 - at);
  }
  EXPECT_EQ(print(graph), text);
}

TEST(Text, ResultTypesMayBeLeftOut) {
  const Graph graph =
      parse("graph g { input %x: f32[2, n]\n // a comment\n %y = Transpose(%x) output %y }", zeros);
  EXPECT_EQ(print(graph, {.types = false}),
            "graph g {\n  input %x: f32[2, n]\n  %y = Transpose(%x)\n  output %y\n}\n");
  EXPECT_NE(print(graph).find("%y: f32[n, 2] = Transpose(%x)"), std::string::npos);
}

TEST(Text, OmittedInputsAndSeveralResults) {
  constexpr std::string_view kText = R"(graph g {
  input %x: f32[4]
  const %top: f32[] = {6.0}
  const %sizes: i64[2] = {1, 3}
  %c: f32[4] = Clip(%x, _, %top)
  %a: f32[1], %b: f32[3] = Split(%c, %sizes) {axis = 0}
  output %b
}
)";
  EXPECT_EQ(print(parse(kText, zeros)), kText);
}

TEST(Text, AttributesOfEveryKind) {
  const std::pair<op::AttributeValue, const char*> cases[] = {
      {int64_t{-3}, "-3"},
      {1.0, "1.0"},
      {1e-5, "1e-05"},
      {-0.0, "-0.0"},
      {std::numeric_limits<double>::infinity(), "inf"},
      {std::string("a\"b\\\n\x01\xc3\xa9"), "\"a\\\"b\\\\\\n\\x01\xc3\xa9\""},
      {std::vector<int64_t>{1, -2}, "[1, -2]"},
      {std::vector<int64_t>{}, "ints []"},
      {std::vector<double>{1.0, 0.5}, "[1.0, 0.5]"},
      {std::vector<double>{}, "floats []"},
      {std::vector<std::string>{"a", ""}, "[\"a\", \"\"]"},
      {std::vector<std::string>{}, "strings []"},
      {Tensor::of<float>({2}, {1, 2.5f}), "tensor f32[2] {1.0, 2.5}"},
      {Tensor::scalar<int64_t>(9), "tensor i64[] {9}"},
      {Tensor::of_strings({1}, {"x y"}), "tensor string[1] {\"x y\"}"},
  };
  for (const auto& [value, text] : cases) EXPECT_EQ(spelled_attribute(value), text);
}

TEST(Text, TensorsWithoutArithmeticAreHex) {
  Tensor fp8(DType::f8e4m3fn, {3});
  fp8.mutable_bytes()[1] = std::byte{0xa7};
  EXPECT_EQ(spelled_elements(fp8), "hex 00a700");
  const Graph graph = parse("graph g { const %c: f8e4m3fn[3] = hex 00a700 output %c }", zeros);
  EXPECT_EQ(print(graph), "graph g {\n  const %c: f8e4m3fn[3] = hex 00a700\n  output %c\n}\n");
}

TEST(Text, CanonicalFormForgetsNames) {
  const Graph a = parse(R"(graph g { input %x: f32[2] const %k: f32[] = {2.0}
    %r1 = Mul(%x, %k) "here" %r0 = Relu(%r1) %y = Neg(%r0) output %y })",
                        zeros);
  const Graph b = parse(R"(graph g { input %x: f32[2] const %q: f32[] = {2.0} "elsewhere"
    %p = Mul(%x, %q) %s = Relu(%p) "there" %y = Neg(%s) output %y })",
                        zeros);
  const Graph c = parse(R"(graph g { input %x: f32[2] const %q: f32[] = {2.0}
    %p = Mul(%x, %q) %s = Relu(%x) %y = Neg(%s) output %y })",
                        zeros);
  EXPECT_EQ(print_canonical(a), print_canonical(b));
  EXPECT_NE(print_canonical(a), print_canonical(c));
}

// A graph of random operators, shapes and names; `seed` decides everything.
class RandomGraph {
 public:
  explicit RandomGraph(uint32_t seed) : random_(seed), graph_(name()) {
    for (int i = 0; i < 2 + pick(3); ++i) {
      tensor::Shape shape = {Dim::symbol("batch"),
                             pick(2) ? Dim(4) : Dim::symbol("n") + Dim(2) * Dim::symbol("m"), Dim(6)};
      values_.push_back(graph_.add_input(name(), {DType::f32, shape, std::nullopt}));
    }
    for (int i = 0; i < 4; ++i) values_.push_back(constant());
    for (int i = 0; i < 30; ++i) step();
    for (int i = 0; i < 3; ++i) output();
  }

  Graph& graph() { return graph_; }

 private:
  int pick(int count) { return int(random_() % uint32_t(count)); }
  Value any() { return values_[size_t(pick(int(values_.size())))]; }

  std::string name() {
    constexpr std::string_view kAlphabet = "abz_09./-: %\"\\{}[](),=\n\t_\x7f\xc3";
    std::string text;
    for (int i = pick(6); i >= 0; --i) text += kAlphabet[size_t(pick(int(kAlphabet.size())))];
    return text;
  }

  Value constant() {
    const int64_t count = pick(2) ? 6 : 1;
    Tensor tensor(DType::f32, {pick(3) ? 1 : 20, count});
    for (float& value : tensor.data<float>()) value = float(pick(2000) - 1000) / 7.0f;
    const Value value = graph_.add_constant(name(), std::move(tensor));
    if (pick(2)) graph_.rename(value, name());
    return value;
  }

  void step() {
    const Value x = any();
    const auto rank = int64_t(graph_.type(x).shape.size());
    try {
      NodeId node;
      switch (pick(7)) {
        case 0:
          node = graph_.add_node("Relu", {x}, {}, name());
          break;
        case 1:
          node = graph_.add_node("Add", {x, any()}, {}, name());
          break;
        case 2:
          node = graph_.add_node("Clip", {x, Value{}, graph_.add_constant("", Tensor::scalar(3.5f))});
          break;
        case 3:
          node = graph_.add_node("Transpose", {x}, {{"perm", permutation(rank)}}, name());
          break;
        case 4:
          node = graph_.add_node("Split", {x}, {{"axis", rank - 1}, {"num_outputs", int64_t{2}}}, name(), 2);
          break;
        case 5:
          node = graph_.add_node("Concat", {x, x}, {{"axis", int64_t{pick(int(rank))}}});
          break;
        default:
          node = graph_.add_node("Softmax", {x}, {{"axis", int64_t{-1}}}, name());
          break;
      }
      for (const Value output : graph_.node(node).outputs) values_.push_back(output);
    } catch (const Error& error) {
      // Shapes that do not broadcast or split: the graph must be as before, which the caller's checks show.
      EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
    }
  }

  std::vector<int64_t> permutation(int64_t rank) {
    std::vector<int64_t> perm;
    for (int64_t i = 0; i < rank; ++i) perm.push_back((i + 1) % rank);
    return perm;
  }

  void output() {
    try {
      graph_.add_output(any(), name());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();  // the name is taken
    }
  }

  std::mt19937 random_;
  Graph graph_;
  std::vector<Value> values_;
};

class RandomText : public testing::TestWithParam<uint32_t> {};

TEST_P(RandomText, PrintParsePrintIsAFixpoint) {
  RandomGraph random(GetParam());
  const Graph& graph = random.graph();
  ASSERT_NO_THROW(verify(graph));
  std::map<std::string, tensor::SourcePtr> sources;
  for (const Value constant : graph.constants())
    sources[graph.source_name(constant)] = graph.source(constant);
  const ConstantResolver resolve = [&](const std::string& name, DType, Encoding, const tensor::Dims&) {
    return sources.at(name);
  };
  const std::string text = print(graph);
  Graph back = parse(text, resolve);
  EXPECT_NO_THROW(verify(back));
  EXPECT_EQ(print(back), text);
  EXPECT_EQ(print(parse(print(graph, {.types = false}), resolve)), text);
  EXPECT_EQ(print_canonical(back), print_canonical(graph));
}

// Any byte changed, dropped or doubled: parse succeeds with a valid graph or throws Error.
TEST_P(RandomText, DamagedTextIsAnErrorOrAGraph) {
  RandomGraph random(GetParam());
  const std::string text = print(random.graph());
  std::mt19937 dice(GetParam());
  for (int i = 0; i < 60; ++i) {
    std::string damaged = text;
    const size_t at = dice() % damaged.size();
    switch (dice() % 4) {
      case 0:
        damaged[at] = char(dice());
        break;
      case 1:
        damaged.erase(at, 1 + dice() % 20);
        break;
      case 2:
        damaged.insert(at, damaged.substr(dice() % damaged.size(), dice() % 30));
        break;
      default:
        damaged.resize(at);
        break;
    }
    try {
      const Graph graph = parse(damaged, zeros);
      EXPECT_NO_THROW(verify(graph)) << damaged;
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::internal) << error.what() << "\n" << damaged;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomText, testing::Range(1u, 41u));

TEST(Parse, RefusesWithALine) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "line 1"},
      {"graf g {}", "graph"},
      {"graph g {", "the end"},
      {"graph g {} x", "after the end"},
      {"graph g {\n\n nonsense }", "line 3"},
      {"graph g { output %x }", "not defined"},
      {"graph g { input %x: f99[2] }", "f99"},
      {"graph g { input %x: f32[2, }", "expected ']'"},
      {"graph g { input %x: f32[2,] }", "dimension"},
      {"graph g { input %x: f32[-2] }", "negative"},
      {"graph g { input %x: f32[9223372036854775808] }", "dimension"},
      {"graph g { input %x: f32[2] input %x: f32[2] }", "twice"},
      {"graph g { const %x: f32[n] = {1.0} }", "numbers"},
      {"graph g { const %x: f32[3] = {1.0} }", "expected 3 elements, found 1"},
      {"graph g { const %x: f32[4611686018427387904, 4] = {1.0} }", "overflow"},
      {"graph g { const %x: f32[4611686018427387904] = {1.0} }", "found 1"},
      {"graph g { const %x: i8[1] = {128} }", "range"},
      {"graph g { const %x: i64[1] = {1.5} }", "i64"},
      {"graph g { const %x: bool[1] = {2} }", "true or false"},
      {"graph g { const %x: f8e4m3fn[2] = hex 00 }", "digits"},
      {"graph g { const %x: f8e4m3fn[1] = hex zz }", "hexadecimal"},
      {"graph g { const %x: f32[2] = \"w\" q99 }", "q99"},
      {"graph g { input %x: f32[2] %y: f32[3] = Relu(%x) }", "declared f32[3], inferred f32[2]"},
      {"graph g { input %x: f32[2] %y = Relu(%x) {a = 1} }", "\"a\""},
      {"graph g { input %x: f32[2] %y = Softmax(%x) {axis = 1, axis = 2} }", "twice"},
      {"graph g { input %x: f32[2] %y = Relu(%x, %x) }", "expected 1 inputs"},
      {"graph g { input %x: f32[2] %y, %y = Split(%x) {num_outputs = 2} }", "twice"},
      {"graph g { input %x: f32[2] %y = Relu(%x) \"unended }", "the end"},
      {"graph g { input %\"\\q\": f32[2] }", "escape"},
      {"graph g { input %\"\\x4", "escape"},
      {"graph g { input %: f32[2] }", "name"},
      {"graph g { output _ }", "absent"},
  };
  for (const auto& [text, part] : cases) {
    try {
      parse(text, zeros);
      ADD_FAILURE() << text << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << text << ": " << error.what();
      EXPECT_NE(std::string_view(error.what()).find("line "), std::string_view::npos) << error.what();
    }
  }
}

TEST(Parse, UnknownOperatorIsUnsupported) {
  try {
    parse("graph g { input %x: f32[2] %y = Nonsense(%x) }", zeros);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
  }
}

TEST(Parse, NamedConstantsNeedAResolver) {
  try {
    parse("graph g { const %w: f32[2] = \"w\" plain }", {});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
  }
}

}  // namespace
}  // namespace lathe::ir
