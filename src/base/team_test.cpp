#include "base/team.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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
  std::atomic<int> running{0};
  // Each of the two items waits until the other one runs, which one member alone could never do: then the test
  // does not end, and ctest's time limit says so.
  team.for_each(2, [&](int64_t) {
    ++running;
    while (running < 2) std::this_thread::yield();
  });
  EXPECT_EQ(running, 2);
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

// In a child, because the limit counts all processes of a user and root has none: as nobody.
TEST(Team, TooFewThreadsIsAResourceErrorAndNoneAreLeft) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(77);
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_NPROC, &none) != 0) ::_exit(77);
    try {
      Team team(4);
    } catch (const Error& error) {
      ::_exit(error.code() == ErrorCode::resource ? 0 : 2);
    }
    ::_exit(77);  // the limit does not bind here
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "threads cannot be limited here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// Some threads start before one does not: address space for a few stacks.
TEST(Team, ThreadsThatDidStartAreJoined) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need address space of their own";
#endif
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlimit space{rlim_t{1} << 28, rlim_t{1} << 28};
    if (::setrlimit(RLIMIT_AS, &space) != 0) ::_exit(77);
    try {
      Team team(1000);
    } catch (const Error& error) {
      ::_exit(error.code() == ErrorCode::resource ? 0 : 2);
    }
    ::_exit(77);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "address space cannot be limited here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Team, NoThreadsIsABug) {
  EXPECT_THROW(Team(0), Error);
}

}  // namespace
}  // namespace lathe
