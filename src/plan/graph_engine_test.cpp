#include "plan/graph_engine.h"

#include <gtest/gtest.h>

namespace lathe::plan {
namespace {

TEST(Islands, AreToldByReason) {
  EXPECT_TRUE(describe({}).empty());
  const std::vector<Island> islands = {{"a", "slow"}, {"b", "9.1 dB"}, {"c", "slow"}, {"d", "slow"}, {"e", "slow"}};
  EXPECT_EQ(describe(islands), (std::vector<std::string>{R"("a", "c", "d", "e": slow)", R"("b": 9.1 dB)"}));
  std::vector<Island> more = islands;
  more.push_back({"f", "slow"});
  EXPECT_EQ(describe(more)[0], R"("a", "c", "d" and 2 more: slow)");
}

}  // namespace
}  // namespace lathe::plan
