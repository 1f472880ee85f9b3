#include "opt/extract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "opt/numeric_check.h"

namespace lathe::opt {
namespace {

using testing::HasSubstr;

// Two branches, an operator with two results, a constant that is used twice, a symbol that NonZero makes.
const char* const kText =
    "graph g {\n  input %x: f32[n, 6]\n  input %scale: f32[6]\n  const %half: f32[2] = {3, 3}\n"
    "  const %sizes: i64[2] = {2, 4}\n"
    "  %a = Relu(%x) \"a\"\n  %b = Mul(%a, %scale) \"b\"\n"
    "  %left, %right = Split(%b, %sizes) {axis = 1} \"split\"\n  %l = Div(%left, %half)\n  %r = Neg(%right)\n"
    "  %m = Mul(%l, %half)\n  %where = NonZero(%m)\n  %y = Concat(%m, %r) {axis = 1}\n  output %y\n  output "
    "%where\n}\n";

ir::Graph whole() { return ir::parse(kText, {}); }

std::vector<std::string> names_of(const ir::Graph& graph, std::span<const ir::Value> values) {
  std::vector<std::string> names;
  for (const ir::Value value : values) names.push_back(graph.name(value));
  return names;
}

// The part's outputs for values of the whole as inputs are the values of the whole.
void expect_same_values(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
  const ir::Graph graph = whole();
  const ir::Graph part = extract(graph, inputs, outputs);
  ir::verify(part);
  EXPECT_EQ(names_of(part, part.outputs()), outputs);
  std::map<std::string, tensor::Tensor> known = generate_inputs(graph);
  ir::EvaluateOptions options;
  options.observe = [&](ir::Value value, const tensor::Tensor& tensor) {
    known.emplace(graph.name(value), tensor);
    return true;
  };
  ir::evaluate(graph, std::map(known), options);
  std::map<std::string, tensor::Tensor> given;
  for (const std::string& name : names_of(part, part.inputs())) given.emplace(name, known.at(name));
  for (const auto& [name, tensor] : ir::evaluate(part, given)) {
    const auto expected = known.at(name).bytes(), found = tensor.bytes();
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), found.begin(), found.end())) << name;
  }
}

TEST(Extract, ThePartGivesTheValuesOfTheWhole) {
  expect_same_values({"x", "scale"}, {"y", "where"});
  expect_same_values({"b"}, {"y"});
  expect_same_values({"left"}, {"m", "where"});
  expect_same_values({"a"}, {"right", "l"});
  expect_same_values({"left", "right"}, {"y"});
  expect_same_values({"left", "b"}, {"y"});  // one result of Split is given, the other is computed
  expect_same_values({}, {"a"});
}

TEST(Extract, OnlyWhatIsNeededStays) {
  const ir::Graph part = extract(whole(), {"left"}, {"m"});
  EXPECT_EQ(part.nodes().size(), 2u);
  EXPECT_EQ(names_of(part, part.inputs()), (std::vector<std::string>{"left"}));
  EXPECT_EQ(part.constants().size(), 1u);
  EXPECT_EQ(op::to_string(part.type(part.outputs()[0])), "f32[n, 2]");
}

TEST(Extract, InputsThatAreNeededBesidesStay) {
  const ir::Graph part = extract(whole(), {"a"}, {"b"});
  EXPECT_EQ(names_of(part, part.inputs()), (std::vector<std::string>{"scale", "a"}));
}

TEST(Extract, ShapeArithmeticOfWhatIsGivenIsForgotten) {
  const ir::Graph graph = ir::parse(
      "graph g {\n  input %x: f32[2, 3]\n  %s = Shape(%x)\n  %y = Reshape(%x, %s)\n  output %y\n}\n", {});
  const ir::Graph part = extract(graph, {"s"}, {"y"});
  EXPECT_FALSE(part.type(*part.find("s")).elements);
}

std::string usage_of(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
  try {
    extract(whole(), inputs, outputs);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "";
}

TEST(Extract, WhatCannotBeIsUsage) {
  EXPECT_THAT(usage_of({"lefd"}, {"y"}), HasSubstr("near are left"));
  EXPECT_THAT(usage_of({"x"}, {"wher"}), HasSubstr("near are where"));
  EXPECT_THAT(usage_of({"x", "x"}, {"y"}), HasSubstr("twice"));
  EXPECT_THAT(usage_of({"r"}, {"l"}), HasSubstr("depends on it"));
  EXPECT_THAT(usage_of({"half"}, {"y"}), HasSubstr("constant"));
}

}  // namespace
}  // namespace lathe::opt
