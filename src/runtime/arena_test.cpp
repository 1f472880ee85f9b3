#include "runtime/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace lathe::runtime {
namespace {

bool overlap(const ArenaBuffer& a, const ArenaBuffer& b) {
  const bool together = a.begin <= b.end && b.begin <= a.end;
  return together && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

TEST(Arena, BuffersThatLiveTogetherStandApart) {
  std::mt19937 random(7);
  const auto number = [&](int64_t below) { return int64_t(random() % uint64_t(below)); };
  for (int round = 0; round < 200; ++round) {
    std::vector<ArenaBuffer> buffers;
    for (int64_t i = number(40); i >= 0; --i) {
      const int64_t begin = number(30);
      buffers.push_back({size_t(number(5) == 0 ? 0 : number(5000)), begin, begin + number(10)});
    }
    const size_t total = place_buffers(buffers);
    for (size_t i = 0; i < buffers.size(); ++i) {
      EXPECT_EQ(buffers[i].offset % 64, 0u);
      EXPECT_LE(buffers[i].offset + buffers[i].bytes, total);
      for (size_t j = 0; j < i; ++j) ASSERT_FALSE(overlap(buffers[i], buffers[j])) << i << " and " << j;
    }
  }
}

TEST(Arena, ARowOfEqualStepsTakesTwoPlaces) {
  std::vector<ArenaBuffer> buffers;
  for (int64_t i = 0; i < 100; ++i) buffers.push_back({1024, i, i + 1});
  EXPECT_EQ(place_buffers(buffers), 2048u);
}

TEST(Arena, NothingTakesNothing) {
  std::vector<ArenaBuffer> none;
  EXPECT_EQ(place_buffers(none), 0u);
}

}  // namespace
}  // namespace lathe::runtime
