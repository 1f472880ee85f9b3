#include "plan/type_text.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::plan {
namespace {

TEST(TypeText, IsTheInverseOfToString) {
  for (const char* text :
       {"f32[]", "f32[1, 2]", "i64[batch, 2*n - 1, a.b]", "u4[7]", "string[n]", "bf16[...]", "?", "sequence(f32)",
        "sequence(?)", "optional(i64)", "optional(sequence(f32))", "optional(?)", "f32[Slice_x~2fy_0, 3]"}) {
    EXPECT_EQ(op::to_string(parse_type(text)), text);
  }
}

TEST(TypeText, RefusesOtherTexts) {
  for (const std::string text : {"",
                                 "f32",
                                 "f33[1]",
                                 "f32[1",
                                 "f32[1,]",
                                 "f32[,]",
                                 "f32[-1]",
                                 "f32[1] ",
                                 "?[1]",
                                 "[1]",
                                 "sequence(f33)",
                                 "sequence()",
                                 "sequence(f32[1])",
                                 "optional(optional(f32))",
                                 "optional(sequence(f32)",
                                 "undefined[1]",
                                 "f32[1 2]",
                                 "f32[\"a\"]",
                                 "sequence",
                                 "sequence("}) {
    EXPECT_THROW(parse_type(text), Error) << text;
  }
  std::string deep = "f32[1";
  for (int i = 0; i < 64; ++i) deep += ", 1";
  EXPECT_THROW(parse_type(deep + "]"), Error);
}

}  // namespace
}  // namespace lathe::plan
