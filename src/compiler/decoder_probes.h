// What parts of an imported decoder compute, found by evaluating them for several steps.
#pragma once

#include "ir/graph.h"

namespace lathe::compiler {

// Throws unsupported, naming the step, unless `mask` hides exactly what a causal mask over attention_mask hides.
void require_causal(const ir::Graph& graph, ir::Value mask);

// Whether `value`, i64 [batch, sequence] or [1, sequence], holds the positions of the step's tokens: counted from the
// first one on, or, in sequences with padding, from the first that attention_mask lets see.
bool is_positions(const ir::Graph& graph, ir::Value value);

}  // namespace lathe::compiler
