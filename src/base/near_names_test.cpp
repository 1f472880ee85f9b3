#include "base/near_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lathe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(NearNames, NearestFirst) {
  const std::vector<std::string> names = {"/layer/0/Add_output_0", "input_ids", "input_mask", "logits", "Logits_1"};
  EXPECT_THAT(near_names("input_id", names), ElementsAre("input_ids"));
  EXPECT_THAT(near_names("logit", names), ElementsAre("logits", "Logits_1"));
  EXPECT_THAT(near_names("lgoits", names), ElementsAre("logits"));
  EXPECT_THAT(near_names("layer/0/Add", names), ElementsAre("/layer/0/Add_output_0"));
  EXPECT_THAT(near_names("elephant", names), IsEmpty());
  EXPECT_THAT(near_names("", names), IsEmpty());
  EXPECT_EQ(near_text("elephant", names), "");
  EXPECT_EQ(near_text("logits_", names), "; near are Logits_1, logits");
}

TEST(NearNames, NoMoreThanAsked) {
  EXPECT_EQ(near_names("x", std::vector<std::string>{"x1", "x2", "x3"}, 2).size(), 2u);
}

}  // namespace
}  // namespace lathe
