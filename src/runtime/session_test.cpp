#include "runtime/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <numeric>

#include "backend/device.h"
#include "base/error.h"
#include "runtime/sample_engine.h"

namespace lathe::runtime {
namespace {

using testing::HasSubstr;
using Row = std::vector<float>;

constexpr int64_t kContext = 512;
const int64_t kKvBlock = backend::get_device("cpu").kv_block;

// The sample with weights that differ, none of them in blocks, so that every token and every position matters.
std::string sample_bytes() {
  plan::Manifest manifest = sample_manifest();
  manifest.contract.context_length = kContext;
  manifest.plan.instructions[kOut].attributes = {};  // no rounding to integers: those need blocks
  int64_t end = 0;
  for (plan::Constant& constant : manifest.plan.constants) {
    if (constant.encoding != tensor::Encoding::plain) {
      constant.encoding = tensor::Encoding::plain;
      constant.layout = "f32_panel";
      constant.bytes = int64_t(backend::find_layout("f32_panel")->size(constant.dims[0], constant.dims[1]));
    }
    constant.offset = align_up<int64_t>(end, 64);
    end = constant.offset + constant.bytes;
  }
  manifest.weight_bytes = end;
  std::string weights = sample_weights(manifest);
  uint64_t state = 1;
  for (const plan::Constant& constant : manifest.plan.constants) {
    auto* values = reinterpret_cast<float*>(weights.data() + constant.offset);
    for (int64_t i = 0; i < constant.bytes / 4; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      values[i] = float(double(state >> 33) / double(uint64_t{1} << 31)) - 0.4f;
    }
  }
  return engine_bytes(manifest, weights);
}

class SessionTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    path_ = std::filesystem::path(testing::TempDir()) / fmt::format("lathe_session_{}.lathe", ::getpid());
    const std::string bytes = sample_bytes();
    std::ofstream(path_, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
  }
  static void TearDownTestSuite() { std::filesystem::remove(path_); }

  static std::unique_ptr<Session> open(SessionOptions options = {}) {
    if (options.threads == 0) options.threads = 2;
    return std::make_unique<Session>(plan::EngineFile::open(path_), options);
  }

  static std::vector<int32_t> tokens(int64_t count, int32_t seed = 3) {
    std::vector<int32_t> result(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) result[size_t(i)] = int32_t((seed + i * i * 5 + i / 7) % kSampleVocabulary);
    return result;
  }

  // The row after the last of `fed`, by a session of its own.
  static Row alone(const std::vector<int32_t>& fed) {
    const auto session = open();
    return row(*session, session->create(), fed);
  }
  static Row row(Session& session, SequenceId sequence, std::span<const int32_t> fed) {
    const auto logits = session.step(sequence, fed);
    return {logits.begin(), logits.end()};
  }

  static void expect_near(const Row& expected, const Row& found) {
    ASSERT_EQ(expected.size(), found.size());
    float largest = 0;
    for (const float value : expected) largest = std::max(largest, std::abs(value));
    ASSERT_GT(largest, 0);
    for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(expected[i], found[i], 1e-5 * largest) << "logit " << i;
  }

  template <class Body>
  static Error thrown(Body&& body) {
    try {
      body();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "did not throw";
    return Error(ErrorCode::internal, "");
  }

  static std::filesystem::path path_;
};

std::filesystem::path SessionTest::path_;

TEST_F(SessionTest, LogitsDependOnTokensAndTheirOrder) {  // or nothing below could fail
  EXPECT_NE(alone({1, 2, 3}), alone({1, 2, 4}));
  EXPECT_NE(alone({1, 2, 3}), alone({2, 1, 3}));
  EXPECT_NE(alone(tokens(200)), alone(tokens(200, 4)));
}

TEST_F(SessionTest, UnevenPiecesGiveTheSameLogits) {
  const auto fed = tokens(300);
  const Row whole = alone(fed);
  const auto session = open();
  for (const std::vector<int64_t>& sizes : std::vector<std::vector<int64_t>>{
           {1, 299}, {63, 1, 236}, {64, 64, 172}, {65, 128, 107}, {299, 1}, {7, 93, 200}}) {
    const SequenceId sequence = session->create();
    Row last;
    size_t at = 0;
    for (const int64_t size : sizes) {
      last = row(*session, sequence, std::span(fed).subspan(at, size_t(size)));
      at += size_t(size);
      EXPECT_EQ(session->length(sequence), int64_t(at));
    }
    ASSERT_EQ(at, fed.size());
    expect_near(whole, last);
    session->release(sequence);
  }
}

// More sequences than a step holds, of lengths that cross steps, with every kind of logits.
TEST_F(SessionTest, UnevenBatchesGiveTheSameLogits) {
  SessionOptions options;
  options.cache_tokens = 3000;
  options.max_step_tokens = 50;
  options.max_sequences = 3;
  options.max_outputs = 5;
  const auto session = open(options);
  const std::vector<int64_t> lengths = {1, 130, 2, 49, 50, 51, 1, 1};
  std::vector<std::vector<int32_t>> fed;
  std::vector<StepItem> items;
  for (size_t i = 0; i < lengths.size(); ++i) fed.push_back(tokens(lengths[i], int32_t(i)));
  for (size_t i = 0; i < lengths.size(); ++i) {
    const Logits logits = i == 3 ? Logits::none : i % 2 == 1 ? Logits::all : Logits::last;
    items.push_back({session->create(), fed[i], logits});
  }
  std::vector<std::vector<int64_t>> positions(items.size());
  std::vector<Row> last(items.size());
  session->step(items, [&](size_t item, int64_t position, std::span<const float> logits) {
    positions[item].push_back(position);
    last[item].assign(logits.begin(), logits.end());
  });
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(session->length(items[i].sequence), lengths[i]);
    if (i == 3) {
      EXPECT_TRUE(positions[i].empty());
      continue;
    }
    std::vector<int64_t> wanted = {lengths[i] - 1};
    if (i % 2 == 1) {
      wanted.resize(size_t(lengths[i]));
      std::iota(wanted.begin(), wanted.end(), 0);
    }
    EXPECT_EQ(positions[i], wanted) << "item " << i;
    expect_near(alone(fed[i]), last[i]);
  }
  // The one without logits was run all the same.
  auto longer = fed[3];
  longer.push_back(5);
  expect_near(alone(longer), row(*session, items[3].sequence, std::vector<int32_t>{5}));
}

TEST_F(SessionTest, RowsOfLogitsAreAsManyAsAskedFor) {
  SessionOptions options;
  options.max_outputs = 100;
  const auto session = open(options);
  const auto fed = tokens(100);
  int64_t largest = 0;
  session->set_tap([&](const plan::Instruction&, const plan::Buffer&, std::span<const float>, int64_t rows) {
    largest = std::max(largest, rows);
  });
  const StepItem item{session->create(), fed, Logits::all};
  session->step(std::span(&item, 1), {});
  EXPECT_EQ(largest, 100);  // one step
}

TEST_F(SessionTest, TruncateForgetsAndGivesBlocksBack) {
  SessionOptions options;
  options.cache_tokens = 4 * kKvBlock;
  const auto session = open(options);
  const SequenceId sequence = session->create();
  const auto first = tokens(200);
  row(*session, sequence, first);
  session->truncate(sequence, 70);
  EXPECT_EQ(session->length(sequence), 70);
  auto second = tokens(70);
  const auto more = tokens(60, 9);
  second.insert(second.end(), more.begin(), more.end());
  expect_near(alone(second), row(*session, sequence, more));

  session->truncate(sequence, 1);  // one block is left to it, three are free again
  const SequenceId other = session->create();
  expect_near(alone(tokens(3 * kKvBlock)), row(*session, other, tokens(3 * kKvBlock)));
  session->truncate(sequence, 0);
  expect_near(alone(tokens(5)), row(*session, sequence, tokens(5)));

  EXPECT_EQ(thrown([&] { session->truncate(sequence, 6); }).code(), ErrorCode::usage);
  EXPECT_EQ(thrown([&] { session->truncate(sequence, -1); }).code(), ErrorCode::usage);
  EXPECT_EQ(session->length(sequence), 5);
}

TEST_F(SessionTest, FullCacheThrowsAndLeavesEverySequenceAsItWas) {
  SessionOptions options;
  options.cache_tokens = 4 * kKvBlock;
  options.max_step_tokens = kKvBlock;  // several packed steps run before the one that finds no room
  const auto session = open(options);
  const SequenceId first = session->create();
  const SequenceId second = session->create();
  const auto fed = tokens(kKvBlock + 1);  // two blocks each: no block is left
  row(*session, first, fed);
  row(*session, second, fed);
  const auto many = tokens(150, 5);
  const std::vector<StepItem> items = {{first, std::span(many).first(10)}, {second, many}};
  const Error error = thrown([&] { session->step(items, {}); });
  EXPECT_EQ(error.code(), ErrorCode::resource);
  EXPECT_THAT(error.message(), HasSubstr("of 4 are free"));
  EXPECT_EQ(session->length(first), kKvBlock + 1);
  EXPECT_EQ(session->length(second), kKvBlock + 1);

  // Both go on where they were, and the blocks that the step had taken are free again.
  auto longer = fed;
  longer.insert(longer.end(), many.begin(), many.begin() + 10);
  expect_near(alone(longer), row(*session, first, std::span(many).first(10)));
  expect_near(alone(longer), row(*session, second, std::span(many).first(10)));
  session->release(first);
  EXPECT_NO_THROW(row(*session, second, tokens(2 * kKvBlock)));
}

TEST_F(SessionTest, StepThatThrowsInTheMiddleIsUndone) {
  SessionOptions options;
  options.max_step_tokens = 40;
  const auto session = open(options);
  const SequenceId sequence = session->create();
  const SequenceId fresh = session->create();
  const auto fed = tokens(30);
  row(*session, sequence, fed);
  const auto more = tokens(100, 8);
  const std::vector<StepItem> items = {{sequence, more, Logits::all}, {fresh, more, Logits::last}};
  int64_t seen = 0;
  const Error error = thrown([&] {
    session->step(items, [&](size_t, int64_t position, std::span<const float>) {
      ++seen;
      if (position == 70) fail(ErrorCode::usage, "enough");
    });
  });
  EXPECT_EQ(error.message(), "enough");
  EXPECT_EQ(seen, 71);
  EXPECT_EQ(session->length(sequence), 30);
  EXPECT_EQ(session->length(fresh), 0);
  auto longer = fed;
  longer.push_back(7);
  expect_near(alone(longer), row(*session, sequence, std::vector<int32_t>{7}));
  expect_near(alone({7}), row(*session, fresh, std::vector<int32_t>{7}));
}

TEST_F(SessionTest, WhatCannotBeAskedIsRefusedBeforeAnythingRuns) {
  SessionOptions options;
  options.cache_tokens = 100;
  const auto session = open(options);
  EXPECT_EQ(session->context_length(), 100);
  const SequenceId sequence = session->create();
  const SequenceId other = session->create();
  row(*session, sequence, tokens(40));
  const auto step = [&](std::vector<StepItem> items) {
    return thrown([&] { session->step(items, [](size_t, int64_t, std::span<const float>) { FAIL() << "ran"; }); });
  };
  const auto good = tokens(5);
  const auto long_one = tokens(61);
  const std::vector<int32_t> bad = {1, int32_t(kSampleVocabulary)};
  const std::vector<int32_t> negative = {-1};
  EXPECT_EQ(step({{other, good}, {sequence, {}}}).code(), ErrorCode::usage);
  EXPECT_EQ(step({{other, good}, {sequence, bad}}).code(), ErrorCode::usage);
  EXPECT_EQ(step({{other, good}, {sequence, negative}}).code(), ErrorCode::usage);
  EXPECT_EQ(step({{other, good}, {other, good}}).code(), ErrorCode::usage);
  EXPECT_EQ(step({{other, good}, {99, good}}).code(), ErrorCode::usage);
  const Error error = step({{other, good}, {sequence, long_one}});
  EXPECT_EQ(error.code(), ErrorCode::invalid_input);
  EXPECT_THAT(error.message(), HasSubstr("101 tokens, the context holds 100"));
  EXPECT_EQ(session->length(other), 0);
  EXPECT_EQ(session->length(sequence), 40);
  EXPECT_NO_THROW(row(*session, sequence, tokens(60)));  // the last position of the context
}

// Sequences of any company and any block numbers, cut by position.
TEST_F(SessionTest, DeterministicSessionsGiveEqualBits) {
  SessionOptions options;
  options.deterministic = true;
  options.cache_tokens = 2000;
  const auto session = open(options);
  const auto fed = tokens(150);
  const Row expected = row(*session, session->create(), fed);
  for (const int64_t first : {1, 30, 64, 149}) {
    const SequenceId stranger = session->create();
    const SequenceId sequence = session->create();
    const auto others = tokens(first, 6);
    std::vector<StepItem> items = {{stranger, others}, {sequence, fed}};
    Row found;
    session->step(items, [&](size_t item, int64_t, std::span<const float> logits) {
      if (item == 1) found.assign(logits.begin(), logits.end());
    });
    EXPECT_EQ(found, expected) << first;
    session->release(sequence);  // the stranger keeps its blocks: the next sequence gets others
  }
}

}  // namespace
}  // namespace lathe::runtime
