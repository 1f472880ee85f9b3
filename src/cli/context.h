// How many positions the cache of a conversation is to have, and whether they fit.
#pragma once

#include <cstdint>

#include "cli/model.h"

namespace lathe::cli {

// Positions of a block of the cache of the engine's device.
int64_t kv_block(const plan::EngineFile& engine);

// --ctx, or the model's own context. Throws usage naming both where --ctx is larger.
int64_t wished_context(const EngineOptions& options, const contract::Contract& contract);

// Throws resource with the numbers and what to ask for instead where `positions` of cache do not fit in memory.
void require_cache_fits(const plan::EngineFile& engine, const runtime::SessionOptions& options, int64_t positions);

// wished_context(), but without --ctx no more than what fits in memory beside the weights, with a note to `output`.
int64_t fitting_context(const EngineOptions& options, const plan::EngineFile& engine, const Output& output);

}  // namespace lathe::cli
