#include "bench/bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::bench {
namespace {

using testing::HasSubstr;

std::string refusal(const BenchOptions& options, int64_t context_length) {
  try {
    check(options, context_length);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.message();
  }
  return "";
}

TEST(Bench, MedianOfOddAndEvenCounts) {
  EXPECT_EQ(median_of({3}), 3);
  EXPECT_EQ(median_of({9, 1, 5}), 5);
  EXPECT_EQ(median_of({1, 9, 5, 2}), 3.5);
}

TEST(Bench, ChecksEveryListAndNamesTheOption) {
  EXPECT_EQ(refusal({}, 640), "");
  EXPECT_THAT(refusal({.prompts = {512, -1}}, 8192), HasSubstr("--prompt -1"));
  EXPECT_THAT(refusal({.generates = {-5}}, 8192), HasSubstr("--generate -5"));
  EXPECT_THAT(refusal({.depths = {0, -2}}, 8192), HasSubstr("--depth -2"));
  EXPECT_THAT(refusal({.sequences = {1, 0}}, 8192), HasSubstr("--sequences 0"));
  EXPECT_THAT(refusal({.sequences = {INT64_MAX}}, 8192), HasSubstr("--sequences 9223372036854775807"));
  EXPECT_THAT(refusal({.depths = {}}, 8192), HasSubstr("--depth"));
  EXPECT_THAT(refusal({.repeats = 0}, 8192), HasSubstr("--repeat 0"));
  EXPECT_THAT(refusal({.prompts = {0}, .generates = {0}}, 8192), HasSubstr("nothing to measure"));
}

TEST(Bench, TestsFitTheContext) {
  const BenchOptions deep{.prompts = {512}, .generates = {128}, .depths = {0, 500}};
  EXPECT_EQ(refusal(deep, 1012), "");
  EXPECT_EQ(refusal(deep, 1011), "--depth 500 and --prompt 512 take 1012 positions, the context holds 1011");
  EXPECT_EQ(refusal({.prompts = {0}, .generates = {128}, .depths = {500}}, 628), "");
  EXPECT_THAT(refusal({.prompts = {0}, .generates = {129}, .depths = {500}}, 628), HasSubstr("--generate 129"));
  EXPECT_THAT(refusal({.depths = {INT64_MAX}}, 8192), HasSubstr("--depth 9223372036854775807"));
}

TEST(Bench, CacheHoldsEverySequenceInWholeBlocks) {
  EXPECT_EQ(cache_tokens_needed({.prompts = {1}, .generates = {0}}, 64), 64);
  EXPECT_EQ(cache_tokens_needed({.prompts = {512}, .generates = {128}, .depths = {0, 65}, .sequences = {1, 8}}, 64),
            8 * 640);
}

}  // namespace
}  // namespace lathe::bench
