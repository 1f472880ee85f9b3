#include "base/team.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"

namespace lathe {
namespace {

// About 20 microseconds of spinning: longer than any barrier inside a step, shorter than a scheduler tick.
constexpr int kSpins = 4000;

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void futex_wake_all(std::atomic<uint32_t>& word) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

// A number that waiters follow: each change releases those who wait for the old value.
class alignas(64) Epoch {
 public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }

  // Returns once value() != seen.
  void wait_beyond(uint32_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (value() != seen) return;
      _mm_pause();
    }
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (value_.load(std::memory_order_seq_cst) == seen) futex_wait(value_, seen);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }

  void advance() {
    value_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) futex_wake_all(value_);
  }

 private:
  std::atomic<uint32_t> value_{0};
  std::atomic<int> sleepers_{0};
};

}  // namespace

struct Team::Shared {
  int size = 1;
  std::vector<std::thread> threads;
  Epoch start;
  Epoch barrier;
  alignas(64) std::atomic<int> arrived{0};
  alignas(64) std::atomic<int> finished{0};
  alignas(64) std::atomic<int64_t> claims[2] = {0, 0};  // of this round, and of the one before or after it
  Epoch done;
  const std::function<void(TeamMember&)>* body = nullptr;
  bool stop = false;
  std::mutex error_mutex;
  std::exception_ptr error;

  void arrive_and_wait() {
    if (size == 1) return;
    const uint32_t epoch = barrier.value();
    if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      arrived.store(0, std::memory_order_relaxed);
      barrier.advance();
    } else {
      barrier.wait_beyond(epoch);
    }
  }

  // What the thread of member `index` does until it is dismissed.
  void serve(int index) {
    uint32_t seen = 0;
    for (;;) {
      start.wait_beyond(seen);
      ++seen;
      if (stop) return;
      TeamMember member(index, size, this);
      run_member(member);
      if (finished.fetch_add(1, std::memory_order_acq_rel) + 2 == size) done.advance();
    }
  }
  void dismiss() {
    stop = true;
    start.advance();
    for (std::thread& thread : threads) thread.join();
  }

  void run_member(TeamMember& member) {
    try {
      (*body)(member);
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  }
};

void TeamMember::barrier() noexcept { static_cast<Team::Shared*>(shared_)->arrive_and_wait(); }

// The other counter was last used before the barrier, and will be after the next: now nobody looks at it.
void TeamMember::begin_claims() noexcept {
  auto& claims = static_cast<Team::Shared*>(shared_)->claims;
  if (index_ == 0) claims[claims_].store(0, std::memory_order_relaxed);
  claims_ ^= 1;
}

int64_t TeamMember::claim() noexcept {
  return static_cast<Team::Shared*>(shared_)->claims[claims_].fetch_add(1, std::memory_order_relaxed);
}

Team::Team(int threads) : shared_(std::make_unique<Shared>()) {
  LATHE_CHECK(threads >= 1, "{} threads", threads);
  shared_->size = threads;
  try {
    for (int i = 1; i < threads; ++i) shared_->threads.emplace_back([s = shared_.get(), i] { s->serve(i); });
  } catch (const std::system_error& error) {
    const size_t started = shared_->threads.size() + 1;  // and the caller
    shared_->dismiss();
    fail(ErrorCode::resource, "the system gives {} of {} threads: {}", started, threads, error.code().message());
  }
}

Team::~Team() { shared_->dismiss(); }

int Team::size() const { return shared_->size; }

void Team::run(const std::function<void(TeamMember&)>& body) {
  Shared& shared = *shared_;
  shared.body = &body;
  shared.finished.store(0, std::memory_order_relaxed);
  for (auto& counter : shared.claims) counter.store(0, std::memory_order_relaxed);
  const uint32_t done = shared.done.value();
  if (shared.size > 1) shared.start.advance();
  TeamMember member(0, shared.size, &shared);
  shared.run_member(member);
  if (shared.size > 1) shared.done.wait_beyond(done);
  if (std::exception_ptr error = std::exchange(shared.error, nullptr)) std::rethrow_exception(error);
}

void Team::for_each(int64_t count, const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  run([&](TeamMember&) {
    for (int64_t i = next++; i < count; i = next++) body(i);
  });
}

}  // namespace lathe
