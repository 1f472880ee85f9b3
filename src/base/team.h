// A team of threads that runs one function on all its members, with cheap barriers inside.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace lathe {

// What a member of a running team sees. Passed by reference to the function that every member executes.
class TeamMember {
 public:
  int index() const { return index_; }
  int size() const { return size_; }
  // Returns when all members have arrived; writes made before it are visible after it.
  // Every member must make the same sequence of barrier calls.
  void barrier() noexcept;

  // Gives out numbers from 0 on, each to one member: work for whoever is free. Every member must make the same
  // sequence of begin_claims() calls, with a barrier between two of them.
  void begin_claims() noexcept;
  int64_t claim() noexcept;

  // This member's share [begin, end) of `count` items, in whole multiples of `grain`, by a static schedule
  // that depends only on count, grain and size().
  struct Range {
    int64_t begin;
    int64_t end;
  };
  Range share(int64_t count, int64_t grain = 1) const {
    const int64_t grains = (count + grain - 1) / grain;
    const int64_t begin = grains * index_ / size_ * grain;
    const int64_t end = grains * (index_ + 1) / size_ * grain;
    return {begin < count ? begin : count, end < count ? end : count};
  }

 private:
  friend class Team;
  TeamMember(int index, int size, void* shared) : index_(index), size_(size), shared_(shared) {}
  int index_;
  int size_;
  int claims_ = 0;  // which counter
  void* shared_;
};

// Threads that wait for work: spinning briefly, then asleep on a futex. The calling thread is member 0.
// One run at a time; not reentrant. An exception thrown by a member is rethrown by run() after all members
// have finished (kernels are noexcept; only loading and conversion code throws, and it uses no barriers).
class Team {
 public:
  // At least 1. Throws resource where the system gives fewer threads than that; none are left behind.
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const;
  void run(const std::function<void(TeamMember&)>& body);

  // Calls body(i) for i in [0, count), members taking items one at a time as they become free.
  void for_each(int64_t count, const std::function<void(int64_t)>& body);

 private:
  friend class TeamMember;
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace lathe
