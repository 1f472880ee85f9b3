#include "backend/cuda/emulation/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <map>
#include <numeric>
#include <optional>
#include <random>

#include "backend/cuda/emulation/memory.h"

namespace lathe::backend::cuda::emulated {
namespace {

namespace context = boost::context;

constexpr size_t kStackBytes = 64 << 10;
constexpr unsigned kMostThreads = 1024;
constexpr size_t kMostShared = 227 << 10;  // of a block, sm_90

struct Thread {
  context::fiber fiber;      // where it stopped
  context::fiber scheduler;  // where it goes on when it stops
  unsigned number = 0;
  Dim index;
  Wait wait = Wait::nothing;
  bool vote = false;
  unsigned votes = 0;  // of the last barrier
  // A collective that it waits at.
  const char* collective = nullptr;
  uint32_t mask = 0;
  Deposit deposit;
  Resolve resolve = nullptr;
  // Copies that have not landed: groups, the last one still open.
  std::vector<std::vector<std::function<void()>>> copies{1};

  unsigned lane() const { return number % kWarp; }
  unsigned warp() const { return number / kWarp; }
};

struct SharedPiece {
  std::vector<unsigned char> data;
  std::vector<Shadow> shadow;
};

struct Warp {
  // The last time at which both of two lanes were in one __syncwarp.
  std::array<std::array<uint64_t, kWarp>, kWarp> together{};
};

class Block;
Block* running = nullptr;
uint64_t blocks_so_far = 0;

class Block {
 public:
  Block(const LaunchOptions& options, Dim index, const std::function<void()>& body,
        context::pooled_fixedsize_stack& stacks, uint64_t first_serial, unsigned seed)
      : options_(options),
        index_(index),
        body_(body),
        first_serial_(first_serial),
        serial_(++blocks_so_far),
        random_(seed),
        threads_(options.block.size()),
        warps_((threads_.size() + kWarp - 1) / kWarp) {
    pieces_["dynamic shared memory"] = {std::vector<unsigned char>(options.dynamic_shared),
                                        std::vector<Shadow>(options.dynamic_shared)};
    shared_total_ = options.dynamic_shared;
    for (unsigned i = 0; i < threads_.size(); ++i) {
      Thread& thread = threads_[i];
      thread.number = i;
      thread.index = {i % options.block.x, i / options.block.x % options.block.y,
                      i / (options.block.x * options.block.y)};
      thread.fiber = context::fiber(std::allocator_arg, stacks, [this, &thread](context::fiber&& scheduler) {
        thread.scheduler = std::move(scheduler);
        try {
          body_();
        } catch (const Fault& found) {
          fault_ = found;
        }
        thread.wait = Wait::done;
        return std::move(thread.scheduler);
      });
    }
  }

  void run() {
    running = this;
    struct Stop {
      ~Stop() { running = nullptr; }
    } stop;
    while (!all_done()) {
      if (step() || release_collectives() || release_barrier()) continue;
      report_deadlock();
    }
    for (const Thread& thread : threads_) {
      if (thread.copies.size() > 1 || !thread.copies.back().empty()) {
        throw Fault(options_.name, index_, int(thread.number),
                    "leaves with asynchronous copies that it never waited for");
      }
    }
  }

  Thread& thread() { return *now_; }
  const LaunchOptions& options() const { return options_; }
  Dim index() const { return index_; }
  uint64_t serial() const { return serial_; }
  uint64_t first_serial() const { return first_serial_; }
  uint64_t clock() const { return clock_; }

  [[noreturn]] void fault(const std::string& what) const {
    throw Fault(options_.name, index_, now_ ? int(now_->number) : -1, what);
  }

  void wait(Wait what) {
    Thread& thread = *now_;
    thread.wait = what;
    thread.scheduler = std::move(thread.scheduler).resume();
  }

  bool ordered(unsigned other, uint64_t then) const {
    if (other == now_->number || then < last_barrier_) return true;
    if (other / kWarp != now_->warp()) return false;
    return then < warps_[now_->warp()].together[now_->lane()][other % kWarp];
  }

  SharedBytes piece(const std::string& name, size_t bytes) {
    const auto [it, fresh] = pieces_.try_emplace(name);
    if (fresh) {
      it->second = {std::vector<unsigned char>(bytes), std::vector<Shadow>(bytes)};
      shared_total_ += bytes;
      if (shared_total_ > kMostShared) {
        fault(fmt::format("{} bytes of shared memory: a block has {}", shared_total_, kMostShared));
      }
    }
    SharedPiece& piece = it->second;
    if (piece.data.size() < bytes) {
      fault(fmt::format("shared memory \"{}\" has {} bytes here and {} elsewhere", name, bytes, piece.data.size()));
    }
    return {piece.data.data(), piece.data.size(), piece.shadow.data()};
  }

 private:
  bool all_done() const {
    return std::all_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.wait == Wait::done; });
  }

  // Every thread that can run does so until it waits. Warps in random order, and lanes within them: nothing says that a
  // warp runs in step.
  bool step() {
    std::vector<unsigned> order;
    for (const Thread& thread : threads_) {
      if (thread.wait == Wait::nothing) order.push_back(thread.number);
    }
    std::vector<unsigned> rank(warps_.size());
    std::iota(rank.begin(), rank.end(), 0u);
    std::shuffle(rank.begin(), rank.end(), random_);
    std::shuffle(order.begin(), order.end(), random_);
    std::stable_sort(order.begin(), order.end(),
                     [&](unsigned a, unsigned b) { return rank[a / kWarp] < rank[b / kWarp]; });
    for (const unsigned number : order) {
      now_ = &threads_[number];
      now_->fiber = std::move(now_->fiber).resume();
      now_ = nullptr;
      if (fault_) throw *fault_;
    }
    return !order.empty();
  }

  bool release_collectives() {
    bool released = false;
    for (Thread& thread : threads_) {
      if (thread.wait == Wait::warp && complete(thread)) {
        resolve(thread);
        released = true;
      }
    }
    return released;
  }

  Thread* lane_of(const Thread& thread, unsigned lane) {
    const size_t number = thread.warp() * kWarp + lane;
    return number < threads_.size() ? &threads_[number] : nullptr;
  }

  bool complete(const Thread& thread) {
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if ((thread.mask >> lane & 1) == 0) continue;
      const Thread* other = lane_of(thread, lane);
      if (!other) {
        now_ = &threads_[thread.number];
        fault(fmt::format("{} with mask {:#010x}: the warp has no lane {}", thread.collective, thread.mask, lane));
      }
      if (other->wait == Wait::done) {
        now_ = &threads_[thread.number];
        fault(fmt::format("{} with mask {:#010x} waits for lane {}, which has left the kernel", thread.collective,
                          thread.mask, lane));
      }
      if (other->wait != Wait::warp || other->mask != thread.mask ||
          std::strcmp(other->collective, thread.collective) != 0) {
        return false;
      }
    }
    return true;
  }

  void resolve(const Thread& first) {
    std::array<Deposit*, kWarp> lanes{};
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if (first.mask >> lane & 1) lanes[lane] = &lane_of(first, lane)->deposit;
    }
    if (first.resolve) first.resolve(lanes);
    ++clock_;
    Warp& warp = warps_[first.warp()];
    const uint32_t mask = first.mask;
    const unsigned base = first.warp() * kWarp;
    for (unsigned a = 0; a < kWarp; ++a) {
      if ((mask >> a & 1) == 0) continue;
      // Only __syncwarp, where nothing is exchanged, orders memory: shuffles, votes and matrix instructions do not.
      for (unsigned b = 0; b < kWarp && !first.resolve; ++b) {
        if (mask >> b & 1) warp.together[a][b] = clock_;
      }
      Thread& thread = threads_[base + a];
      thread.wait = Wait::nothing;
      if (!thread.deposit.problem) continue;
      now_ = &thread;
      fault(fmt::format("{} with mask {:#010x} {}", thread.collective, mask, thread.deposit.problem));
    }
  }

  bool release_barrier() {
    unsigned votes = 0;
    for (const Thread& thread : threads_) {
      if (thread.wait == Wait::done) continue;
      if (thread.wait != Wait::block) return false;
      votes += thread.vote;
    }
    last_barrier_ = ++clock_;
    for (Thread& thread : threads_) {
      if (thread.wait != Wait::block) continue;
      thread.wait = Wait::nothing;
      thread.votes = votes;
    }
    return true;
  }

  static std::string doing(const Thread& thread) {
    switch (thread.wait) {
      case Wait::block:
        return "waits at __syncthreads";
      case Wait::warp:
        return fmt::format("waits at {} with mask {:#010x}", thread.collective, thread.mask);
      case Wait::done:
        return "has left the kernel";
      default:
        return "runs";
    }
  }

  // The first thread that waits, and the first that keeps it waiting.
  [[noreturn]] void report_deadlock() {
    Thread* waiting = nullptr;
    for (Thread& thread : threads_) {
      if (thread.wait == Wait::warp || (thread.wait == Wait::block && !waiting)) waiting = &thread;
      if (thread.wait == Wait::warp) break;
    }
    const Thread* keeps = nullptr;
    for (const Thread& other : threads_) {
      const bool expected = waiting->wait == Wait::block
                                ? other.wait == Wait::warp
                                : other.warp() == waiting->warp() && (waiting->mask >> other.lane() & 1) &&
                                      (other.wait != Wait::warp || other.mask != waiting->mask ||
                                       std::strcmp(other.collective, waiting->collective) != 0);
      if (expected) keeps = &other;
      if (expected) break;
    }
    now_ = waiting;
    fault(fmt::format("{} for ever: thread {} {}", doing(*waiting), keeps ? int(keeps->number) : -1,
                      keeps ? doing(*keeps) : "is not there"));
  }

  const LaunchOptions& options_;
  const Dim index_;
  const std::function<void()>& body_;
  const uint64_t first_serial_;  // of the launch
  const uint64_t serial_;
  std::mt19937 random_;
  std::map<std::string, SharedPiece> pieces_;
  size_t shared_total_ = 0;
  uint64_t clock_ = 1;
  uint64_t last_barrier_ = 1;
  std::optional<Fault> fault_;
  Thread* now_ = nullptr;
  std::vector<Thread> threads_;  // their fibres refer to what stands above
  std::vector<Warp> warps_;
};

Block& block() {
  if (!running) throw std::logic_error("no kernel is running");
  return *running;
}

std::string place(const std::string& kernel, Dim b, int thread, const std::string& what) {
  const std::string who = thread < 0 ? "" : fmt::format(", thread {}", thread);
  return fmt::format("kernel {}, block ({}, {}, {}){}: {}", kernel, b.x, b.y, b.z, who, what);
}

}  // namespace

Fault::Fault(std::string kernel_name, Dim block_at, int thread_number, const std::string& message)
    : std::runtime_error(place(kernel_name, block_at, thread_number, message)),
      kernel(std::move(kernel_name)),
      block(block_at),
      thread(thread_number),
      what_happened(message) {}

void launch(const LaunchOptions& options, const std::function<void()>& body) {
  const unsigned threads = options.block.size();
  if (threads == 0 || threads > kMostThreads) {
    throw Fault(options.name, {0, 0, 0}, -1,
                fmt::format("{} threads in a block: 1 to {} can be", threads, kMostThreads));
  }
  if (options.grid.size() == 0) throw Fault(options.name, {0, 0, 0}, -1, "an empty grid");
  context::pooled_fixedsize_stack stacks(kStackBytes);
  std::vector<unsigned> order(options.grid.size());
  std::iota(order.begin(), order.end(), 0u);
  std::mt19937 random(options.seed);
  std::shuffle(order.begin(), order.end(), random);
  const uint64_t first = blocks_so_far + 1;
  for (const unsigned number : order) {
    const Dim index = {number % options.grid.x, number / options.grid.x % options.grid.y,
                       number / (options.grid.x * options.grid.y)};
    Block(options, index, body, stacks, first, unsigned(random())).run();
  }
}

unsigned thread_number() {
  return block().thread().number;
}
unsigned lane_number() {
  return block().thread().lane();
}
unsigned warp_number() {
  return block().thread().warp();
}
Dim thread_index() {
  return block().thread().index;
}
Dim block_index() {
  return block().index();
}
Dim block_size() {
  return block().options().block;
}
Dim grid_size() {
  return block().options().grid;
}
void fault(const std::string& what) {
  block().fault(what);
}

unsigned block_barrier(bool vote) {
  block().thread().vote = vote;
  block().wait(Wait::block);
  return block().thread().votes;
}

Deposit warp_collective(const char* name, uint32_t mask, const Deposit& deposit, Resolve resolve) {
  Thread& thread = block().thread();
  if ((mask >> thread.lane() & 1) == 0) {
    fault(fmt::format("{} with mask {:#010x}, which does not name lane {} that calls it", name, mask, thread.lane()));
  }
  thread.collective = name;
  thread.mask = mask;
  thread.deposit = deposit;
  thread.resolve = resolve;
  block().wait(Wait::warp);
  return thread.deposit;
}

uint64_t now() {
  return block().clock();
}
bool ordered(unsigned other, uint64_t then) {
  return block().ordered(other, then);
}
uint64_t block_serial() {
  return block().serial();
}
bool of_this_launch(uint64_t serial) {
  return serial >= block().first_serial();
}

SharedBytes shared_bytes(const char* name, size_t bytes) {
  return block().piece(name, bytes);
}
SharedBytes dynamic_shared_bytes() {
  return block().piece("dynamic shared memory", 0);
}

void defer_copy(std::function<void()> land) {
  block().thread().copies.back().push_back(std::move(land));
}
void commit_copies() {
  block().thread().copies.emplace_back();
}
void wait_for_copies(unsigned groups_left) {
  auto& copies = block().thread().copies;
  while (copies.size() > size_t(groups_left) + 1) {
    for (const auto& land : copies.front()) land();
    copies.erase(copies.begin());
  }
}

}  // namespace lathe::backend::cuda::emulated
