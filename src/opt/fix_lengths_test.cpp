#include "opt/fix_lengths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::opt {
namespace {

using testing::HasSubstr;

ir::Graph graph() {
  return ir::parse(
      "graph g {\n  input %x: f32[batch, seq, 4]\n  input %past: f32[batch, past + seq, 4]\n"
      "  %y = Concat(%x, %past) {axis = 1}\n  output %y\n}\n",
      {});
}

std::string type_of(const Lengths& lengths, const std::string& input) {
  return op::to_string(fixed_input_types(graph(), lengths).at(input));
}

std::string usage_of(const Lengths& lengths) {
  try {
    fixed_input_types(graph(), lengths);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "";
}

TEST(FixLengths, OfASymbolOrAnInput) {
  EXPECT_EQ(type_of({{"batch", {2}}}, "x"), "f32[2, seq, 4]");
  EXPECT_EQ(type_of({{"batch", {2}}}, "past"), "f32[2, past + seq, 4]");
  EXPECT_EQ(type_of({{"x", {1, 8, 4}}}, "past"), "f32[1, past + 8, 4]");
  EXPECT_EQ(type_of({{"x", {1, 8, 4}}, {"past", {1, 10, 4}}}, "past"), "f32[1, 10, 4]");
}

TEST(FixLengths, TypesFollow) {
  ir::Graph fixed = graph();
  fix_lengths(fixed, {{"batch", {3}}, {"seq", {5}}});
  EXPECT_EQ(op::to_string(fixed.type(fixed.outputs()[0])), "f32[3, past + 10, 4]");
  ir::verify(fixed);
}

TEST(FixLengths, WhatCannotBeIsUsage) {
  EXPECT_EQ(usage_of({}), "");
  EXPECT_THAT(usage_of({{"bacth", {2}}}), HasSubstr("near are batch"));
  EXPECT_THAT(usage_of({{"x", {1, 8, 5}}}), HasSubstr("f32[1, 8, 4]"));
  EXPECT_THAT(usage_of({{"x", {1, 8}}}), HasSubstr("expected f32[batch, seq, 4]"));
  EXPECT_THAT(usage_of({{"batch", {1, 2}}}), HasSubstr("one length"));
  EXPECT_THAT(usage_of({{"batch", {2}}, {"x", {1, 8, 4}}}), HasSubstr("cannot be"));
}

}  // namespace
}  // namespace lathe::opt
