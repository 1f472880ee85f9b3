#include "runtime/session_memory.h"

#include "base/error.h"
#include "runtime/kv_cache.h"
#include "runtime/program.h"
#include "runtime/session_plan.h"
#include "runtime/staging.h"

namespace lathe::runtime {
namespace {

std::string megabytes(uint64_t bytes) {
  return fmt::format("{:.1f} MB", double(bytes) / 1e6);
}

}  // namespace

SessionMemory session_memory(const plan::EngineFile& engine, const SessionOptions& options) {
  const plan::Manifest& manifest = engine.manifest();
  const backend::Device& device = backend::get_device(manifest.plan.device);
  const Booking booking = booking_of(engine, options, 1);
  SessionMemory memory;
  memory.device = options.accelerator ? options.accelerator->name() : std::string(device.name);
  memory.weights = uint64_t(manifest.weight_bytes);
  memory.cache = KvCache::bytes_needed(device, booking.layers, booking.blocks);
  memory.positions = booking.cache_tokens;
  const backend::Settings settings = settings_of(device, manifest.plan, options);
  memory.scratch = Program::scratch_needed(manifest.plan, settings, booking.capacity);
  memory.arena = booking.work_bytes - memory.scratch;
  if (!device.host_memory()) {
    const Staging::Bytes staging = Staging::bytes_needed(booking.capacity, manifest.contract.vocab_size);
    memory.inputs = staging.device;
    memory.host = staging.host;
  }
  if (options.accelerator) {
    const backend::Accelerator::Memory now = options.accelerator->memory();
    memory.total = now.total;
    memory.free = now.free;
    memory.weights_there = options.accelerator->has_weights(engine);
  }
  return memory;
}

std::string describe(const SessionMemory& memory) {
  std::string text = fmt::format(
      "{}: weights {}{}, cache of {} positions {}, tensors of a step {}, scratch of its kernels {}, inputs {}: {} to "
      "take",
      memory.device, megabytes(memory.weights), memory.weights_there ? " (there already)" : "", memory.positions,
      megabytes(memory.cache), megabytes(memory.arena), megabytes(memory.scratch), megabytes(memory.inputs),
      megabytes(memory.needed()));
  if (memory.host > 0) text += fmt::format("; on the host, for inputs and logits, {}", megabytes(memory.host));
  if (memory.total > 0) {
    text += fmt::format("; {} of {} are free, CUDA and others have the rest", megabytes(memory.free),
                        megabytes(memory.total));
  }
  return text;
}

void require_fits(const SessionMemory& memory, const backend::Accelerator& accelerator) {
  if (memory.needed() <= memory.free) return;
  const bool eight_bits =
      backend::find_layout(accelerator.device(), tensor::DType::f32, tensor::Encoding::q8_0) != nullptr;
  fail(ErrorCode::resource,
       "{} ({}): weights of {} bytes{}, {} positions of cache with {} bytes and {} bytes to work in are more than the "
       "{} of {} bytes that are free; ask for fewer positions with --ctx, for smaller ones with --kv fp16{}, or for "
       "another GPU or --device cpu",
       memory.device, accelerator.description(), memory.weights, memory.weights_there ? " (there already)" : "",
       memory.positions, memory.cache, memory.arena + memory.scratch + memory.inputs, memory.free, memory.total,
       eight_bits ? ", take a checkpoint of 8-bit weights (Q8_0)" : "");
}

}  // namespace lathe::runtime
