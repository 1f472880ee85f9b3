// The emulated block (block.h) for whole models: as few switches between fibres as can be, in a fixed order, without
// the account of who touched what. What is still found: accesses out of bounds or not aligned, masks without their
// caller, barriers and collectives that never complete. Kernels are tested with the other one.
#include "backend/cuda/emulation/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <cstring>
#include <optional>

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
  Wait wait = Wait::done;
  bool vote = false;
  const char* collective = nullptr;
  uint32_t mask = 0;
  Deposit deposit;
  std::vector<std::vector<std::function<void()>>> copies{1};  // as in block.cpp
};

struct Piece {
  std::string name;
  std::vector<unsigned char> data;
};

// One launch at a time, whose blocks run one after another on the same fibres.
struct Machine {
  context::pooled_fixedsize_stack stacks{kStackBytes};
  std::vector<std::unique_ptr<Thread>> threads;  // fibres that wait for a body, as many as were ever needed
  const std::function<void()>* body = nullptr;
  const LaunchOptions* options = nullptr;
  Dim index;
  unsigned count = 0;  // threads of a block
  uint64_t serial = 0, first_serial = 0;
  std::vector<Piece> pieces;
  Thread* now = nullptr;
  unsigned votes = 0;
  std::array<uint32_t, kMostThreads / kWarp> waiting{};  // of each warp, its lanes that wait in a collective
  std::optional<Fault> fault;

  void require_threads(unsigned wanted);
  void run_block();
  bool run_warp(unsigned warp);
  bool release_barrier();
  void report_deadlock();
};

Machine the_machine;

inline Machine& machine() {
  return the_machine;
}

void stop_here(Thread& thread, Wait what) {
  thread.wait = what;
  thread.scheduler = std::move(thread.scheduler).resume();
}

void Machine::require_threads(unsigned wanted) {
  while (threads.size() < wanted) {
    threads.push_back(std::make_unique<Thread>());
    Thread& thread = *threads.back();
    thread.number = unsigned(threads.size() - 1);
    thread.fiber = context::fiber(std::allocator_arg, stacks, [this, &thread](context::fiber&& scheduler) {
      thread.scheduler = std::move(scheduler);
      for (;;) {
        try {
          (*body)();
        } catch (const Fault& found) {
          if (!fault) fault = found;
        }
        stop_here(thread, Wait::done);
      }
      return std::move(thread.scheduler);
    });
  }
}

// Runs the lanes of a warp until all wait for others or are done; whether any ran.
bool Machine::run_warp(unsigned warp) {
  bool any = false;
  for (bool ran = true; ran && !fault;) {
    ran = false;
    for (unsigned i = warp * kWarp; i < std::min(count, (warp + 1) * kWarp) && !fault; ++i) {
      Thread& thread = *threads[i];
      if (thread.wait != Wait::nothing) continue;
      now = &thread;
      thread.fiber = std::move(thread.fiber).resume();
      now = nullptr;
      ran = any = true;
    }
  }
  return any;
}

bool Machine::release_barrier() {
  votes = 0;
  bool any = false;
  for (unsigned i = 0; i < count; ++i) {
    const Thread& thread = *threads[i];
    if (thread.wait == Wait::done) continue;
    if (thread.wait != Wait::block) return false;
    votes += thread.vote;
    any = true;
  }
  for (unsigned i = 0; any && i < count; ++i) {
    if (threads[i]->wait == Wait::block) threads[i]->wait = Wait::nothing;
  }
  return any;
}

void Machine::report_deadlock() {
  for (unsigned i = 0; i < count; ++i) {
    const Thread& thread = *threads[i];
    if (thread.wait == Wait::done) continue;
    const std::string where = thread.wait == Wait::block ? "__syncthreads" : thread.collective;
    fault.emplace(options->name, index, int(i),
                  fmt::format("waits at {} with mask {:#010x} for ever", where, thread.mask));
    return;
  }
}

void Machine::run_block() {
  serial += 1;
  pieces.clear();
  waiting.fill(0);
  for (unsigned i = 0; i < count; ++i) {
    threads[i]->wait = Wait::nothing;
    threads[i]->copies.assign(1, {});
  }
  const auto done = [&] {
    return std::all_of(threads.begin(), threads.begin() + count, [](const auto& t) { return t->wait == Wait::done; });
  };
  while (!fault && !done()) {
    bool ran = false;
    for (unsigned warp = 0; warp * kWarp < count && !fault; ++warp) ran |= run_warp(warp);
    if (!fault && !ran && !release_barrier() && !done()) report_deadlock();
  }
  for (unsigned i = 0; i < count && !fault; ++i) {
    const auto& copies = threads[i]->copies;
    if (copies.size() == 1 && copies.back().empty()) continue;
    fault.emplace(options->name, index, int(i), "leaves with asynchronous copies that it never waited for");
  }
}

Thread& current() {
  Machine& the = machine();
  if (!the.now) throw std::logic_error("no kernel is running");
  return *the.now;
}

Piece& piece(const char* name, size_t bytes) {
  Machine& the = machine();
  size_t total = 0;
  for (Piece& known : the.pieces) {
    if (known.name == name) return known;
    total += known.data.size();
  }
  if (total + bytes > kMostShared) fault(fmt::format("{} bytes of shared memory: a block has {}", total, kMostShared));
  the.pieces.reserve(16);  // references to pieces stay
  the.pieces.push_back({name, std::vector<unsigned char>(bytes, 0xff)});
  return the.pieces.back();
}

}  // namespace

Fault::Fault(std::string kernel_name, Dim block_index, int thread_index, const std::string& message)
    : std::runtime_error(fmt::format("kernel {}, block ({}, {}, {}), thread {}: {}", kernel_name, block_index.x,
                                     block_index.y, block_index.z, thread_index, message)),
      kernel(std::move(kernel_name)),
      block(block_index),
      thread(thread_index),
      what_happened(message) {}

void launch(const LaunchOptions& options, const std::function<void()>& body) {
  Machine& the = machine();
  if (options.block.size() > kMostThreads || options.block.size() == 0 || options.grid.size() == 0) {
    throw Fault(options.name, {}, -1, "a grid or a block that cannot be");
  }
  the.body = &body;
  the.options = &options;
  the.count = options.block.size();
  the.first_serial = the.serial + 1;
  the.require_threads(the.count);
  for (unsigned b = 0; b < options.grid.size() && !the.fault; ++b) {
    the.index = {b % options.grid.x, b / options.grid.x % options.grid.y, b / (options.grid.x * options.grid.y)};
    the.run_block();
  }
  if (!the.fault) return;
  const Fault found = *the.fault;
  the.fault.reset();
  the.threads.clear();  // those in the middle of the kernel are unwound
  throw found;
}

unsigned thread_number() {
  return current().number;
}
unsigned lane_number() {
  return current().number % kWarp;
}
unsigned warp_number() {
  return current().number / kWarp;
}
Dim thread_index() {
  const Dim block = machine().options->block;
  const unsigned i = current().number;
  return {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
}
Dim block_index() {
  return machine().index;
}
Dim block_size() {
  return machine().options->block;
}
Dim grid_size() {
  return machine().options->grid;
}
void fault(const std::string& what) {
  const Machine& the = machine();
  throw Fault(the.options->name, the.index, the.now ? int(the.now->number) : -1, what);
}

unsigned block_barrier(bool vote) {
  current().vote = vote;
  stop_here(current(), Wait::block);
  return machine().votes;
}

namespace {

// Whether all lanes of the mask wait at the same collective, but for the one that has just come.
bool all_came(unsigned base, uint32_t mask, const char* name, const Thread& last) {
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const Thread& other = *machine().threads[base + lane];
    if (&other == &last) continue;
    if (other.mask != mask || (other.collective != name && std::strcmp(other.collective, name) != 0)) return false;
  }
  return true;
}

}  // namespace

Deposit warp_collective(const char* name, uint32_t mask, const Deposit& deposit, Resolve resolve) {
  Machine& the = machine();
  Thread& thread = current();
  const unsigned base = thread.number / kWarp * kWarp;
  if ((mask >> (thread.number - base) & 1) == 0) {
    fault(fmt::format("{} with mask {:#010x}, which does not name its caller", name, mask));
  }
  thread.collective = name;
  thread.mask = mask;
  thread.deposit = deposit;
  uint32_t& waiting = the.waiting[base / kWarp];
  const uint32_t mine = uint32_t{1} << (thread.number - base);
  const bool complete = ((waiting | mine) & mask) == mask && all_came(base, mask, name, thread);
  if (complete) {
    // The last to come does it for all, and goes on at once.
    std::array<Deposit*, kWarp> lanes{};
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      Thread& other = *the.threads[base + lane];
      lanes[lane] = &other.deposit;
      other.wait = Wait::nothing;
    }
    if (resolve) resolve(lanes);
    waiting &= ~mask;
  } else {
    waiting |= mine;
    stop_here(thread, Wait::warp);
  }
  if (thread.deposit.problem) fault(fmt::format("{} with mask {:#010x} {}", name, mask, thread.deposit.problem));
  return thread.deposit;
}

// No account of order is kept: memory has no shadows.
uint64_t now() {
  return 0;
}
bool ordered(unsigned, uint64_t) {
  return true;
}
uint64_t block_serial() {
  return machine().serial;
}
bool of_this_launch(uint64_t serial) {
  return serial >= machine().first_serial;
}

SharedBytes shared_bytes(const char* name, size_t bytes) {
  Piece& found = piece(name, bytes);
  return {found.data.data(), found.data.size(), nullptr};
}
SharedBytes dynamic_shared_bytes() {
  Piece& found = piece("dynamic shared memory", machine().options->dynamic_shared);
  return {found.data.data(), found.data.size(), nullptr};
}

void defer_copy(std::function<void()> land) {
  current().copies.back().push_back(std::move(land));
}
void commit_copies() {
  current().copies.emplace_back();
}
void wait_for_copies(unsigned groups_left) {
  auto& copies = current().copies;
  while (copies.size() > size_t(groups_left) + 1) {
    for (const auto& land : copies.front()) land();
    copies.erase(copies.begin());
  }
}

}  // namespace lathe::backend::cuda::emulated
