// What a session's options come to for an engine: how it computes, and how much of everything it books.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/kernel.h"
#include "plan/engine_file.h"
#include "runtime/session.h"

namespace lathe::runtime {

// Throws as Session's constructor.
backend::Settings settings_of(const backend::Device& device, const plan::Plan& plan, const SessionOptions& options);
// That of the options, for a device that needs one; throws usage where the two do not go together.
std::shared_ptr<backend::Accelerator> accelerator_of(const backend::Device& device, const SessionOptions& options);

struct Booking {
  std::vector<backend::KvShape> layers;
  int64_t cache_tokens = 0;
  int64_t context_length = 0;  // of a sequence
  int64_t blocks = 0;          // of the cache
  backend::Capacity capacity;
  size_t work_bytes = 0;  // arena and scratch
};
Booking booking_of(const plan::EngineFile& engine, const SessionOptions& options, int threads);

}  // namespace lathe::runtime
