#include "cli/context.h"

#include <algorithm>

#include "backend/device.h"
#include "base/checked.h"
#include "base/error.h"
#include "runtime/kv_cache.h"

namespace lathe::cli {
namespace {

// Of a block of positions in all layers.
uint64_t block_bytes(const plan::Plan& plan, const runtime::SessionOptions& options) {
  const std::string& name = options.kv.empty() ? plan.kv : options.kv;
  const auto type = tensor::find_dtype(name);
  if (!type) fail(ErrorCode::unsupported, "cache type \"{}\" is not known", name);
  std::vector<backend::KvShape> layers;
  for (const plan::State& state : plan.states) layers.push_back({*type, state.kv_heads, state.head_dim});
  return runtime::KvCache::bytes_needed(backend::get_device(plan.device), layers, 1);
}

}  // namespace

int64_t kv_block(const plan::EngineFile& engine) {
  return backend::get_device(engine.manifest().plan.device).kv_block;
}

int64_t wished_context(const EngineOptions& options, const contract::Contract& contract) {
  if (options.context > contract.context_length) {
    fail(ErrorCode::usage, "--ctx {}: the model has a context of {}", options.context, contract.context_length);
  }
  return options.context > 0 ? options.context : contract.context_length;
}

void require_cache_fits(const plan::EngineFile& engine, const runtime::SessionOptions& options, int64_t positions) {
  if (options.accelerator) return;  // the session says what does not fit there
  const int64_t blocks = ceil_div(positions, kv_block(engine));
  const uint64_t needed = checked_mul(block_bytes(engine.manifest().plan, options), uint64_t(blocks), "bytes of cache");
  const uint64_t available = available_memory_bytes();
  if (needed <= available) return;
  fail(ErrorCode::resource,
       "a cache of {} positions needs {:.0f} MB, {:.0f} MB are available; ask for fewer with --ctx or --max-tokens, or "
       "for smaller ones with --kv fp16",
       positions, double(needed) / 1e6, double(available) / 1e6);
}

int64_t fitting_context(const EngineOptions& options, const plan::EngineFile& engine, const Output& output) {
  const contract::Contract& contract = engine.manifest().contract;
  const int64_t wish = wished_context(options, contract);
  if (options.context > 0) return wish;
  // Weights are mapped and need not stay in memory, but every token reads them all. The rest is for the step itself
  // and for others on this machine.
  const uint64_t available = options.accelerator ? options.accelerator->memory().free : available_memory_bytes();
  const uint64_t weights = uint64_t(engine.manifest().weight_bytes);
  const uint64_t room = available > weights ? (available - weights) / 10 * 9 : 0;
  const uint64_t blocks = room / std::max<uint64_t>(1, block_bytes(engine.manifest().plan, session_options(options)));
  if (blocks >= uint64_t(ceil_div(wish, kv_block(engine)))) return wish;
  // Too small to talk in: let require_cache_fits or the first long message say so.
  constexpr uint64_t kFewestBlocks = 8;
  const int64_t context = std::min(wish, int64_t(std::max(blocks, kFewestBlocks)) * kv_block(engine));
  output.note(
      fmt::format("context of {} positions instead of the model's {}: {:.0f} MB of memory are available (--ctx "
                  "asks for a number)",
                  context, wish, double(available) / 1e6));
  return context;
}

}  // namespace lathe::cli
