// How an imported decoder keeps its matrices: as a checkpoint would, so that plan and graph share one packed copy.
#pragma once

#include <set>
#include <string>

#include "ir/graph.h"

namespace lathe::compiler {

// x W as x (W')', with W' [columns, rows] stored as checkpoints store their matrices: kernels read it that way, and the
// engine then holds it once for its plan and its graph.
void store_matrices_by_output(ir::Graph& graph);

// A matrix that is multiplied with and equals, element by element, one that rows are looked up in becomes that one: the
// tied head of a model whose exporter wrote it twice. Reads both where their dims are the same.
void share_embeddings(ir::Graph& graph);

// Matrices of an fp32 graph whose every value is one of `dtype` are stored as that, behind a Cast. Those that come from
// a tensor whose origin is in `narrow` are known to be; the others are read.
void store_narrow_matrices(ir::Graph& graph, tensor::DType dtype, const std::set<std::string>& narrow);

}  // namespace lathe::compiler
