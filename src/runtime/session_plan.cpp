#include "runtime/session_plan.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "runtime/kv_cache.h"
#include "runtime/program.h"

namespace lathe::runtime {

using backend::Capacity;
using backend::Device;
using backend::Settings;
using tensor::DType;

namespace {

DType kv_of(std::string_view name) {
  const auto dtype = tensor::find_dtype(name);
  if (!dtype || (*dtype != DType::f32 && *dtype != DType::f16 && *dtype != DType::bf16)) {
    fail(ErrorCode::unsupported, "the cache cannot hold \"{}\" (f32, f16, bf16)", name);
  }
  return *dtype;
}

std::vector<backend::KvShape> cache_layers(const plan::Plan& plan, DType kv) {
  std::vector<backend::KvShape> layers;
  for (const plan::State& state : plan.states) layers.push_back({kv, state.kv_heads, state.head_dim});
  return layers;
}

}  // namespace

Settings settings_of(const Device& device, const plan::Plan& plan, const SessionOptions& options) {
  Settings settings;
  settings.isa = device.choose_isa(options.isa);
  if (!options.compute.empty() && options.compute != "f32" && options.compute != plan.compute) {
    fail(ErrorCode::unsupported, "the engine was planned for {}, it cannot run in {}", plan.compute, options.compute);
  }
  settings.exact = (options.compute.empty() ? plan.compute : options.compute) == "f32";
  settings.same_bits = options.deterministic;
  settings.kv = kv_of(options.kv.empty() ? plan.kv : options.kv);
  return settings;
}

std::shared_ptr<backend::Accelerator> accelerator_of(const Device& device, const SessionOptions& options) {
  const backend::Accelerator* given = options.accelerator.get();
  if (device.host_memory() && !given) return nullptr;
  if (!given) fail(ErrorCode::usage, "the engine is for device {}, which was not opened", device.name);
  if (&given->device() != &device) {
    fail(ErrorCode::usage, "the engine is for device {}, it cannot run on {}", device.name, given->name());
  }
  return options.accelerator;
}

Booking booking_of(const plan::EngineFile& engine, const SessionOptions& options, int threads) {
  const plan::Plan& plan = engine.manifest().plan;
  const contract::Contract& contract = engine.manifest().contract;
  const Device& device = backend::get_device(plan.device);
  const Settings settings = settings_of(device, plan, options);
  Booking booking;
  booking.cache_tokens = options.cache_tokens > 0 ? options.cache_tokens : contract.context_length;
  booking.context_length = std::min(contract.context_length, booking.cache_tokens);
  booking.blocks = ceil_div(booking.cache_tokens, device.kv_block);
  Capacity& capacity = booking.capacity;
  capacity.tokens = std::max<int64_t>(1, std::min(options.max_step_tokens, booking.cache_tokens));
  if (options.deterministic) capacity.tokens = std::max(capacity.tokens, device.kv_block);
  capacity.sequences = std::max<int64_t>(1, options.max_sequences);
  capacity.outputs = std::max({int64_t{1}, options.max_outputs, capacity.sequences});
  // Where steps are cut.
  if (options.deterministic) capacity.outputs = std::max(capacity.outputs, device.kv_block);
  capacity.blocks_per_sequence = ceil_div(booking.context_length, device.kv_block);
  capacity.threads = threads;
  booking.layers = cache_layers(plan, settings.kv);
  booking.work_bytes = Program::bytes_needed(plan, settings, capacity);
  return booking;
}

}  // namespace lathe::runtime
