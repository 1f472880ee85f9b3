// Faults that are planted in small kernels, and kernels without any, whose results are known.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <optional>

#include "backend/cuda/kernel.h"

namespace lathe::backend::cuda {
namespace {

using emulated::Buffer;
using emulated::Fault;
using testing::HasSubstr;

constexpr unsigned kThreads = 128;

std::optional<Fault> fault_of(const std::function<void()>& body, unsigned seed = 1, unsigned blocks = 1,
                              size_t dynamic = 0) {
  try {
    emulated::launch({"planted", {blocks}, {kThreads}, dynamic, seed}, body);
  } catch (const Fault& fault) {
    return fault;
  }
  return std::nullopt;
}

#define EXPECT_FAULT(body, words)                                                      \
  for (unsigned seed = 1; seed <= 4; ++seed) {                                         \
    const auto fault = fault_of(body, seed);                                           \
    ASSERT_TRUE(fault) << "seed " << seed << ": nobody noticed";                       \
    EXPECT_THAT(fault->what_happened, HasSubstr(words)) << fault->what();              \
    EXPECT_THAT(fault->what(), HasSubstr("kernel planted, block (0, 0, 0), thread ")); \
    EXPECT_GE(fault->thread, 0);                                                       \
  }

// The sum of each row, with and without the barrier that it needs.
LATHE_KERNEL void sum_rows(Global<const float> x, Global<float> sums, int columns, bool barrier) {
  LATHE_SHARED(float, partial, kThreads / 32);
  float sum = 0;
  for (int i = int(thread()); i < columns; i += int(threads())) sum += x[int64_t(block_x()) * columns + i];
  sum = sum_of_warp(sum);
  if (lane() == 0) partial[warp()] = sum;
  if (barrier) sync_block();
  if (thread() > 0) return;
  float total = 0;
  for (int w = 0; w < int(kThreads / 32); ++w) total += partial[w];
  sums[block_x()] = total;
}

TEST(Emulation, SumsRows) {
  constexpr int kRows = 20, kColumns = 1000;
  std::vector<float> numbers(size_t(kRows * kColumns));
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = float(i * 7919 % 13);
  for (unsigned seed = 1; seed <= 3; ++seed) {
    Buffer<float> x("x", numbers), sums("sums", size_t(kRows));
    emulated::launch({"sum_rows", {kRows}, {kThreads}, 0, seed}, [&] { sum_rows(x, sums, kColumns, true); });
    for (int row = 0; row < kRows; ++row) {
      const auto first = numbers.begin() + row * kColumns;
      EXPECT_EQ(sums.elements()[size_t(row)], std::accumulate(first, first + kColumns, 0.0f)) << "row " << row;
    }
  }
}

TEST(Emulation, AMissingBarrierIsFoundWhateverTheOrder) {
  Buffer<float> x("x", std::vector<float>(256, 1.0f)), sums("sums", 1);
  bool unwritten = false, unordered = false;
  for (unsigned seed = 1; seed <= 8; ++seed) {
    const auto fault = fault_of([&] { sum_rows(x, sums, 256, false); }, seed);
    ASSERT_TRUE(fault) << "seed " << seed;
    EXPECT_THAT(fault->what_happened, HasSubstr("partial"));
    unwritten |= fault->what_happened.find("nobody has written") != std::string::npos;
    unordered |= fault->what_happened.find("no barrier between") != std::string::npos;
  }
  EXPECT_TRUE(unwritten && unordered) << "whether the value was there by then depends on the order";
}

TEST(Emulation, AWriteBehindAReadNeedsABarrierToo) {
  EXPECT_FAULT(
      [] {
        LATHE_SHARED(int, x, kThreads);
        x[thread()] = int(thread());
        sync_block();
        const int right = x[(thread() + 32) % kThreads];
        x[thread()] = right;
      },
      "barrier between");
}

TEST(Emulation, LanesOfAWarpDoNotRunInStep) {
  const auto exchange = [](bool sync) {
    LATHE_SHARED(int, x, kThreads);
    x[thread()] = int(thread());
    if (sync) sync_warp();
    const int other = x[thread() ^ 1];
    if (other != int(thread() ^ 1)) emulated::fault("a wrong number");
  };
  EXPECT_FALSE(fault_of([&] { exchange(true); }));
  EXPECT_FAULT([&] { exchange(false); }, "byte");
}

// All lanes have come to a shuffle or a vote, and still it says nothing about memory.
TEST(Emulation, OnlySyncwarpOrdersMemory) {
  EXPECT_FAULT(
      [] {
        LATHE_SHARED(int, x, kThreads);
        x[thread()] = int(thread());
        if (shuffle_xor(ballot(true), 1) != kAllLanes) return;
        const int other = x[thread() ^ 1];
        if (other < 0) sync_warp();
      },
      "with no barrier between");
}

TEST(Emulation, IndicesBeyondTheEnd) {
  EXPECT_FAULT(
      [] {
        LATHE_SHARED(float, x, kThreads);
        x[thread() + 1] = 0;
      },
      "writes x[128] (4 bytes): it has 128 elements");
  Buffer<float> y("y", std::vector<float>(kThreads));
  EXPECT_FAULT(
      [&] {
        const Global<const float> from = y;
        if (from[int64_t(thread()) - 1] == 5) sync_block();
      },
      "reads y[-1]");
  EXPECT_FAULT(
      [&] {
        const Global<const float> from = y;
        if (thread() == 9) (void)load<Quad>(from, 126);
      },
      "reads y[126] (16 bytes)");
  EXPECT_FAULT(
      [&] {
        const Global<const float> from = y;
        if (thread() == 9) (void)load<Quad>(from, 2);
      },
      "not aligned");
}

TEST(Emulation, MasksNameWhoComesAndWhomTheyRead) {
  EXPECT_FAULT(
      [] {
        if (lane() < 16) (void)shuffle_xor(1.0f, 1);
      },
      "waits for lane 16, which has left");
  EXPECT_FAULT([] { (void)shuffle_xor(1.0f, 1, 0x0000ffffu); }, "does not name lane");
  EXPECT_FAULT(
      [] {
        if (lane() < 16) (void)shuffle_xor(1.0f, 16, 0x0000ffffu);
      },
      "reads a lane that the mask does not name");
  EXPECT_FAULT(
      [] {
        if (lane() < 16)
          (void)shuffle_xor(1.0f, 1);
        else
          sync_block();
      },
      "for ever");
}

TEST(Emulation, UnwrittenMemoryIsNotRead) {
  EXPECT_FAULT(
      [] {
        LATHE_SHARED(float, x, 4);
        if (x[3] == 1.0f) sync_block();
      },
      "nobody has written");
}

TEST(Emulation, BlocksMeetOnlyByAtomics) {
  Buffer<int> sum("sum", std::vector<int>(1));
  EXPECT_FALSE(fault_of([&] { add_atomically<int>(sum, 0, 1); }, 1, 7));
  EXPECT_EQ(sum.elements()[0], 7 * int(kThreads));
  Buffer<int> meeting("meeting", std::vector<int>(1));
  const auto fault = fault_of(
      [&] {
        if (thread() == 0) meeting.view()[0] = int(block_x());
      },
      1, 2);
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->what_happened, HasSubstr("another block wrote"));
  // A launch behind another one may read what that wrote.
  EXPECT_FALSE(fault_of([&] { (void)int(meeting.view()[0]); }));
}

TEST(Emulation, CopiesLandAtTheirWait) {
  Buffer<float> x("x", std::vector<float>(kThreads * 4, 3.0f));
  const auto copy = [&](bool wait, bool barrier) {
    LATHE_SHARED(float, there, kThreads * 4);
    copy_async(there, int64_t(thread()) * 4, Global<const float>(x), int64_t(thread()) * 4, 16);
    commit_copies();
    if (wait) wait_for_copies<0>();
    if (barrier) sync_block();
    if (there[(thread() * 4 + 40) % (kThreads * 4)] != 3.0f) emulated::fault("a wrong number");
    wait_for_copies<0>();
  };
  EXPECT_FALSE(fault_of([&] { copy(true, true); }));
  EXPECT_FAULT([&] { copy(false, true); }, "still on its way");
  EXPECT_FAULT([&] { copy(true, false); }, "there");
  EXPECT_FAULT(
      [&] {
        LATHE_SHARED(float, there, kThreads * 4);
        copy_async(there, int64_t(thread()) * 4, Global<const float>(x), int64_t(thread()) * 4, 16);
        commit_copies();
      },
      "never waited for");
}

TEST(Emulation, VotesAndLaunchesOutOfRange) {
  EXPECT_FALSE(fault_of([] {
    if (ballot(lane() % 3 == 0) != 0x49249249u) emulated::fault("a wrong vote");
    if (!any_in_block(thread() == 77) || any_in_block(false)) emulated::fault("a wrong vote of the block");
    if (shuffle_from(int(lane()), 5) != 5) emulated::fault("a wrong lane");
  }));
  EXPECT_THROW(emulated::launch({"wide", {1}, {1025}, 0, 1}, [] {}), Fault);
  EXPECT_THROW(emulated::launch({"shared", {1}, {1}, 0, 1},
                                [] {
                                  LATHE_SHARED(float, x, 60000);
                                  (void)x;
                                }),
               Fault);
}

}  // namespace
}  // namespace lathe::backend::cuda
