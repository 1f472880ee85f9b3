// A CUDA block on the CPU: threads as fibres that a scheduler resumes in random order, with barriers and warp
// collectives that only complete when all lanes that they name have come.
//
// What is checked while a kernel runs: that every barrier and collective completes, that masks name their caller and
// whom it reads, and (memory.h) that no two threads touch the same memory without a barrier between them. What this
// cannot show is in docs/cuda.md. For tests only: one launch at a time in a process.
#pragma once

#include <stdint.h>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace lathe::backend::cuda::emulated {

constexpr unsigned kWarp = 32;

struct Dim {
  unsigned x = 1, y = 1, z = 1;
  unsigned size() const { return x * y * z; }
};

// What a kernel did that a GPU would not forgive, or not always.
struct Fault : std::runtime_error {
  Fault(std::string kernel_name, Dim block_index, int thread_index, const std::string& message);
  std::string kernel;
  Dim block;
  int thread;  // its number in the block; -1: none in particular
  std::string what_happened;
};

struct LaunchOptions {
  std::string name;  // of the kernel, for faults
  Dim grid, block;
  size_t dynamic_shared = 0;
  unsigned seed = 1;  // of the order in which blocks and threads run
};

// Calls `body` as every thread of every block. Throws Fault.
void launch(const LaunchOptions& options, const std::function<void()>& body);

// What a thread waits for.
enum class Wait : uint8_t { nothing, block, warp, done };

// One lane of a collective: what it brought and what it gets.
struct Deposit {
  std::array<unsigned char, 64> in{};
  std::array<unsigned char, 64> out{};
  const char* problem = nullptr;  // of this lane, found when all had come
};
// Computes what the lanes of the mask get from what they brought; others are null.
using Resolve = void (*)(std::array<Deposit*, kWarp>& lanes);

// The thread that runs now.
unsigned thread_number();
unsigned lane_number();
unsigned warp_number();
Dim thread_index();
Dim block_index();
Dim block_size();
Dim grid_size();
// Raises the fault of the thread that runs now.
[[noreturn]] void fault(const std::string& what);

// __syncthreads. `vote`: what the thread brings; returns how many brought true.
unsigned block_barrier(bool vote = true);
// Waits for all lanes of the mask at a collective of that name, and returns what `resolve` left for this one. Orders
// the memory of these lanes only without `resolve`: __syncwarp does, other _sync functions promise nothing.
Deposit warp_collective(const char* name, uint32_t mask, const Deposit& deposit, Resolve resolve);

// The order of accesses: whether what `other` did at `then` comes before what the thread that runs now does now, by a
// barrier of the block, by a __syncwarp that both took part in, or because it is the same thread.
uint64_t now();
bool ordered(unsigned other, uint64_t then);
// Different for each block that runs, whatever launch it belongs to.
uint64_t block_serial();
// Whether that block belongs to the launch that runs now.
bool of_this_launch(uint64_t serial);

// Shared memory of the block: the same bytes for every thread that asks by this name. `bytes` of it.
struct SharedBytes {
  unsigned char* data;
  size_t size;
  struct Shadow* shadow;  // memory.h: one for each byte
};
SharedBytes shared_bytes(const char* name, size_t bytes);
SharedBytes dynamic_shared_bytes();

// Copies that land when the thread waits for them (cp.async).
void defer_copy(std::function<void()> land);
void commit_copies();
void wait_for_copies(unsigned groups_left);

template <class T>
Deposit deposit_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 64);
  Deposit deposit;
  std::memcpy(deposit.in.data(), &value, sizeof value);
  return deposit;
}
template <class T>
T brought(const Deposit& deposit) {
  T value;
  std::memcpy(&value, deposit.in.data(), sizeof value);
  return value;
}
template <class T>
T taken(const Deposit& deposit) {
  T value;
  std::memcpy(&value, deposit.out.data(), sizeof value);
  return value;
}
template <class T>
void give(Deposit& deposit, const T& value) {
  std::memcpy(deposit.out.data(), &value, sizeof value);
}

}  // namespace lathe::backend::cuda::emulated
