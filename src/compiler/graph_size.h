// What a planned graph takes when it is loaded, before it is.
#pragma once

#include <cstdint>

#include "compiler/graph_build.h"

namespace lathe::compiler {

struct GraphSize {
  uint64_t constant_bytes = 0;  // as kernels read them, those that stay in mapped files included
  uint64_t packing_bytes = 0;   // besides, while they are packed
};

// Also loads the small constants into the plan's models: what binding a session looks at (GraphSession::measured).
GraphSize measure_constants(const PlannedGraph& planned);

}  // namespace lathe::compiler
