#include "runtime/step_cutter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"

namespace lathe::runtime {
namespace {

using testing::ElementsAre;

// Cuts items of so many tokens, sequence i being item i, and runs the steps: "0:0+3 1:0+2" is a step of three tokens
// of item 0 and two of item 1.
class Cuts {
 public:
  Cuts(std::vector<int64_t> counts, Logits logits, std::map<SequenceId, int64_t> lengths = {})
      : tokens_(1000), lengths_(std::move(lengths)) {
    for (size_t i = 0; i < counts.size(); ++i) {
      items_.push_back({SequenceId(i), std::span(tokens_).first(size_t(counts[i])), logits});
    }
  }

  std::vector<std::string> steps(const backend::Capacity& capacity, int64_t grid = 0) {
    StepCutter cutter(items_, capacity, grid);
    std::vector<std::string> steps;
    while (!cutter.done()) {
      std::vector<std::string> parts;
      for (const Part& part : cutter.next([&](SequenceId id) { return lengths_[id]; })) {
        parts.push_back(fmt::format("{}:{}+{}", part.item, part.begin, part.count));
        lengths_[SequenceId(part.item)] += part.count;
      }
      steps.push_back(fmt::format("{}", fmt::join(parts, " ")));
      if (parts.empty()) break;  // it would go on for ever
    }
    return steps;
  }

 private:
  std::vector<int32_t> tokens_;
  std::vector<StepItem> items_;
  std::map<SequenceId, int64_t> lengths_;
};

backend::Capacity capacity(int64_t tokens, int64_t outputs, int64_t sequences) {
  return {.tokens = tokens, .outputs = outputs, .sequences = sequences, .blocks_per_sequence = 100, .threads = 1};
}

TEST(StepCutter, FillsStepsWithTokens) {
  EXPECT_THAT(Cuts({3, 2}, Logits::last).steps(capacity(8, 4, 4)), ElementsAre("0:0+3 1:0+2"));
  EXPECT_THAT(Cuts({5, 2, 9}, Logits::last).steps(capacity(4, 4, 4)),
              ElementsAre("0:0+4", "0:4+1 1:0+2 2:0+1", "2:1+4", "2:5+4"));
  EXPECT_THAT(Cuts({}, Logits::last).steps(capacity(4, 4, 4)), ElementsAre());
}

TEST(StepCutter, HoldsSequencesAndRowsOfLogits) {
  EXPECT_THAT(Cuts({1, 1, 1}, Logits::last).steps(capacity(8, 8, 2)), ElementsAre("0:0+1 1:0+1", "2:0+1"));
  EXPECT_THAT(Cuts({5, 1}, Logits::all).steps(capacity(8, 3, 2)), ElementsAre("0:0+3", "0:3+2 1:0+1"));
  // The row of the last token has no room; those before it have none.
  EXPECT_THAT(Cuts({1, 3}, Logits::last).steps(capacity(8, 1, 2)), ElementsAre("0:0+1 1:0+2", "1:2+1"));
  EXPECT_THAT(Cuts({3, 3}, Logits::none).steps(capacity(8, 1, 2)), ElementsAre("0:0+3 1:0+3"));
}

TEST(StepCutter, CutsAtTheGridWhateverElseIsThere) {
  EXPECT_THAT(Cuts({10}, Logits::last, {{0, 3}}).steps(capacity(8, 8, 4), 4),
              ElementsAre("0:0+1", "0:1+4", "0:5+4", "0:9+1"));
  // Three tokens of item 1 would fit beside item 0, which is no whole part of the grid.
  EXPECT_THAT(Cuts({1, 4}, Logits::last).steps(capacity(4, 8, 4), 4), ElementsAre("0:0+1", "1:0+4"));
  EXPECT_THAT(Cuts({1, 4}, Logits::last).steps(capacity(5, 8, 4), 4), ElementsAre("0:0+1 1:0+4"));
}

}  // namespace
}  // namespace lathe::runtime
