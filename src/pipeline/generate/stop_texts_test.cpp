#include "pipeline/generate/stop_texts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/error.h"

namespace lathe::pipeline {
namespace {

TEST(StopTexts, HoldsBackOnlyWhatMayBecomeAStop) {
  StopTexts stops({"###", "END."});
  EXPECT_EQ(stops.push("a#"), "a");
  EXPECT_EQ(stops.push("#b"), "##b");
  EXPECT_EQ(stops.push("E"), "");
  EXPECT_EQ(stops.push("N"), "");
  EXPECT_EQ(stops.push("ED."), "ENED.");
  EXPECT_EQ(stops.push("x##"), "x");
  EXPECT_FALSE(stops.found());
  EXPECT_EQ(stops.push("#y"), "");
  EXPECT_TRUE(stops.found());
  EXPECT_EQ(stops.push("more"), "");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopTexts, FinishGivesWhatWasHeld) {
  StopTexts stops({"\n\n"});
  EXPECT_EQ(stops.push("end\n"), "end");
  EXPECT_EQ(stops.finish(), "\n");
  EXPECT_FALSE(stops.found());
}

TEST(StopTexts, NoStops) {
  StopTexts stops({});
  EXPECT_EQ(stops.push("abc"), "abc");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopTexts, EmptyIsRefused) {
  EXPECT_THROW(StopTexts({"a", ""}), Error);
}

// However the text is cut, what comes out is what stands before the stop that is complete first (of those
// that are complete within the same piece, before the one that begins first).
TEST(StopTexts, SplitsDoNotMatter) {
  std::mt19937 random(1);
  const std::vector<std::string> stops = {"aab", "bb", "abab", "ba"};
  int found = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (unsigned i = random() % 12; i > 0; --i)
      text += char('a' + random() % 3 % 2 + (random() % 3 == 0 ? 1 : 0));
    StopTexts one_by_one(stops);
    std::string out;
    for (const char c : text) out += one_by_one.push({&c, 1});
    // The first position at which some stop ends; cut where the longest that ends there begins.
    size_t end = std::string::npos, begin = std::string::npos;
    for (const std::string& stop : stops) {
      const size_t at = text.find(stop);
      if (at == std::string::npos || at + stop.size() > end) continue;
      begin = at + stop.size() < end ? at : std::min(begin, at);
      end = at + stop.size();
    }
    EXPECT_EQ(one_by_one.found(), begin != std::string::npos) << text;
    found += one_by_one.found();
    out += one_by_one.finish();
    EXPECT_EQ(out, text.substr(0, begin)) << text;

    // In larger pieces nothing is lost either while there is no stop.
    if (begin != std::string::npos) continue;
    StopTexts pieces(stops);
    std::string joined;
    for (size_t at = 0; at < text.size();) {
      const size_t length = 1 + random() % 4;
      joined += pieces.push(text.substr(at, length));
      at += length;
    }
    EXPECT_EQ(joined + pieces.finish(), text);
  }
  EXPECT_GT(found, 200);
}

}  // namespace
}  // namespace lathe::pipeline
