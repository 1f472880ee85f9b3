#include "base/team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"

namespace lathe {
namespace {

TEST(Team, RunsTheBodyOncePerMember) {
  for (const int size : {1, 2, 3, 8}) {
    Team team(size);
    EXPECT_EQ(team.size(), size);
    std::vector<int> calls(size_t(size), 0);
    for (int repeat = 1; repeat <= 50; ++repeat) {
      team.run([&](TeamMember& member) {
        EXPECT_EQ(member.size(), size);
        ++calls[size_t(member.index())];
      });
      for (const int count : calls) ASSERT_EQ(count, repeat);
    }
  }
}

TEST(Team, CallerIsMemberZero) {
  Team team(3);
  const auto caller = std::this_thread::get_id();
  team.run([&](TeamMember& member) { EXPECT_EQ(member.index() == 0, std::this_thread::get_id() == caller); });
}

// Every member writes its cell, and after the barrier reads its neighbour's: no atomics, so a barrier that
// lets anyone through early gives a wrong number, and a data race under tsan.
TEST(Team, BarriersOrderPlainMemory) {
  for (const int size : {2, 3, 5}) {
    Team team(size);
    std::vector<int64_t> cells(size_t(size) * 16, 0);
    std::atomic<int64_t> wrong{0};
    constexpr int kRounds = 500;
    team.run([&](TeamMember& member) {
      for (int round = 1; round <= kRounds; ++round) {
        cells[size_t(member.index()) * 16] = round;
        member.barrier();
        const int next = (member.index() + 1) % member.size();
        if (cells[size_t(next) * 16] != round) ++wrong;
        member.barrier();
      }
    });
    EXPECT_EQ(wrong, 0);
  }
}

// More threads than processors: waiters must sleep, or each would burn its time slice (about 3 ms) at each
// barrier, a minute of processor time in all. Processor time, because the machine may be busy with other
// things.
TEST(Team, OversubscribedBarriersSleep) {
  Team team(8);
  const std::clock_t start = std::clock();
  int64_t total = 0;
  for (int repeat = 0; repeat < 50; ++repeat) {
    team.run([&](TeamMember& member) {
      for (int i = 0; i < 50; ++i) {
        if (member.index() == i % 8) ++total;
        member.barrier();
      }
    });
  }
  EXPECT_EQ(total, 50 * 50);
  EXPECT_LT(double(std::clock() - start) / CLOCKS_PER_SEC, 6.0);
}

TEST(Team, SharesCoverEverythingOnceInWholeGrains) {
  for (const int size : {1, 2, 3, 7}) {
    Team team(size);
    for (const int64_t grain : {1, 3, 16}) {
      for (const int64_t count : {0, 1, 2, 15, 16, 17, 100, 1000}) {
        std::vector<TeamMember::Range> ranges(static_cast<size_t>(size));
        team.run([&](TeamMember& member) { ranges[size_t(member.index())] = member.share(count, grain); });
        int64_t at = 0;
        for (const auto& [begin, end] : ranges) {
          EXPECT_EQ(begin, at);
          EXPECT_LE(begin, end);
          EXPECT_TRUE(end == count || end % grain == 0);
          EXPECT_LE(end - begin, (count / grain / size + 1) * grain);
          at = end;
        }
        EXPECT_EQ(at, count);
      }
    }
  }
}

TEST(Team, ForEachTakesEveryItemOnce) {
  for (const int size : {1, 2, 5}) {
    Team team(size);
    for (const int64_t count : {0, 1, 4, 1000}) {
      std::vector<std::atomic<int>> taken(static_cast<size_t>(count));
      team.for_each(count, [&](int64_t i) { ++taken[size_t(i)]; });
      for (const auto& times : taken) EXPECT_EQ(times, 1);
    }
  }
}

TEST(Team, ForEachUsesIdleMembers) {
  Team team(2);
  std::atomic<bool> other_ran{false};
  team.for_each(2, [&](int64_t i) {
    // Item 0 or 1 waits until the other item runs, which one member alone could never do.
    if (i == 1) other_ran = true;
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!other_ran && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    EXPECT_TRUE(other_ran);
  });
}

TEST(Team, FirstExceptionIsRethrownAndTheTeamLivesOn) {
  for (const int size : {1, 2, 4}) {
    Team team(size);
    for (int thrower = 0; thrower < size; ++thrower) {
      std::atomic<int> finished{0};
      try {
        team.run([&](TeamMember& member) {
          if (member.index() == thrower) fail(ErrorCode::verification, "member {}", thrower);
          ++finished;
        });
        FAIL() << "nothing thrown";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::verification);
        EXPECT_EQ(error.message(), fmt::format("member {}", thrower));
      }
      EXPECT_EQ(finished, size - 1);  // run() waited for the others
      EXPECT_NO_THROW(team.run([](TeamMember& member) { member.barrier(); }));
    }
    EXPECT_THROW(team.run([](TeamMember&) { throw std::runtime_error("all of them"); }), std::runtime_error);
    EXPECT_THROW(team.for_each(10, [](int64_t i) { LATHE_CHECK(i != 7); }), Error);
    EXPECT_NO_THROW(team.run([](TeamMember&) {}));
  }
}

TEST(Team, SleepsBetweenRunsAndWakes) {
  Team team(4);
  std::atomic<int> calls{0};
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    team.run([&](TeamMember&) { ++calls; });
  }
  EXPECT_EQ(calls, 20);
}

TEST(Team, ManyTeamsComeAndGo) {
  for (int i = 0; i < 50; ++i) {
    Team unused(3);
    Team team(3);
    std::atomic<int> calls{0};
    team.run([&](TeamMember&) { ++calls; });
    ASSERT_EQ(calls, 3);
  }
}

TEST(Team, NoThreadsIsABug) {
  EXPECT_THROW(Team(0), Error);
}

}  // namespace
}  // namespace lathe
