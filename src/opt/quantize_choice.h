// Products that are not worth 8 bits, whatever they would cost: by their shapes.
#pragma once

#include <map>
#include <string>

#include "ir/graph.h"

namespace lathe::opt {

// Conv, Gemm and MatMul that are better off in floats, by their result: why. Vectors of the batch (time embeddings),
// which take no time and move everything; convolutions of few channels or features (the first and the last of a UNet);
// and where the machine has no products of bytes (`fast_bytes`), those of 3 x 3 that f32 does with fewer
// multiplications (docs/adr/0015 has the measurements).
std::map<std::string, std::string, std::less<>> products_better_in_floats(const ir::Graph& graph, bool fast_bytes);

}  // namespace lathe::opt
