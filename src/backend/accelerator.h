// A device whose memory the host does not read, opened for this process: its memory, the weights that lie on it, and
// queues of work (docs/adr/0017-cuda-device.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "backend/device.h"
#include "backend/gpu.h"

namespace lathe::plan {
class EngineFile;
}

namespace lathe::backend {

// One queue of work, done in order. A session has one of its own; not thread safe.
class Stream {
 public:
  virtual ~Stream() = default;
  // Host memory stays as it is until wait(). Throw what is already known to have failed.
  virtual void copy_in(std::byte* to, const std::byte* host, size_t bytes) = 0;
  virtual void copy_out(std::byte* host, const std::byte* from, size_t bytes) = 0;
  // For all work so far. Throws what any of it failed with.
  virtual void wait() = 0;
  // The same where something has failed already.
  virtual void drain() noexcept = 0;
};

class Accelerator {
 public:
  struct Memory {
    uint64_t total = 0;
    uint64_t free = 0;
  };

  virtual ~Accelerator() = default;
  virtual const Device& device() const = 0;
  virtual std::string name() const = 0;         // "cuda:0"
  virtual std::string description() const = 0;  // the card's own name
  virtual std::string arch() const = 0;         // "sm_90"
  virtual Memory memory() const = 0;            // now, whoever else uses it
  // Of the device, with nothing in it; given back with the last pointer. Throws resource with what is free.
  virtual std::shared_ptr<std::byte> allocate(size_t bytes) = 0;
  // Of the host, such that copies need not wait for it.
  virtual std::shared_ptr<std::byte> allocate_host(size_t bytes) = 0;
  virtual std::unique_ptr<Stream> make_stream() = 0;

  // The weight section of an engine, copied here once for all who hold it at the same time; `engine` lives as long.
  std::shared_ptr<std::byte> weights(const plan::EngineFile& engine);
  // Whether somebody holds it.
  bool has_weights(const plan::EngineFile& engine) const;

 private:
  std::shared_ptr<std::byte> upload(const plan::EngineFile& engine);

  mutable std::mutex mutex_;
  // By address: those who hold weights hold the engine as well, so an entry in use has an engine that is there.
  std::map<const plan::EngineFile*, std::weak_ptr<std::byte>> weights_;
};

// `name`: what --device says. Null for devices whose memory is the host's; throws as refusals of gpu.h do for GPUs that
// cannot be used, unsupported for names that are none.
std::shared_ptr<Accelerator> open_accelerator(std::string_view name, const GpuPlaces& places);

}  // namespace lathe::backend
