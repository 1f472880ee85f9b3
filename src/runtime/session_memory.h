// What a session will take of a device's memory, before it takes it.
#pragma once

#include <cstdint>
#include <string>

#include "backend/accelerator.h"
#include "runtime/session.h"

namespace lathe::runtime {

// Bytes.
struct SessionMemory {
  std::string device;    // "cpu", "cuda:0"
  uint64_t weights = 0;  // the engine's; on a CPU they are mapped and need not stay
  uint64_t cache = 0;    // of `positions`
  int64_t positions = 0;
  uint64_t arena = 0;          // tensors of one step
  uint64_t scratch = 0;        // of its kernels
  uint64_t inputs = 0;         // of a step, on devices with memory of their own
  uint64_t host = 0;           // what copies of inputs and logits take of the host then
  bool weights_there = false;  // another session has brought them
  // Of the device, when this was found out; 0 where nobody knows. What CUDA itself takes is gone by then.
  uint64_t total = 0;
  uint64_t free = 0;

  // That this session is to allocate.
  uint64_t needed() const { return (weights_there ? 0 : weights) + cache + arena + scratch + inputs; }

  template <class V>
  void visit_fields(V& v) {
    v("device", device);
    v("weights_bytes", weights);
    v("cache_bytes", cache);
    v("cache_positions", positions);
    v("arena_bytes", arena);
    v("scratch_bytes", scratch);
    v("inputs_bytes", inputs);
    v("host_bytes", host);
    v("weights_there", weights_there);
    v("total_bytes", total);
    v("free_bytes", free);
  }
};

// As a session with these options books it. Throws as backend::check_plan.
SessionMemory session_memory(const plan::EngineFile& engine, const SessionOptions& options);
// A line for people.
std::string describe(const SessionMemory& memory);
// Throws resource, with the numbers and what to ask for instead, where it does not fit on the accelerator.
void require_fits(const SessionMemory& memory, const backend::Accelerator& accelerator);

}  // namespace lathe::runtime
