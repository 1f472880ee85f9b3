// ONNX model structs -> graph, for models in the operators that src/op has.
#pragma once

#include <memory>

#include "io/onnx.h"
#include "ir/graph.h"

namespace lathe::frontend {

// The main graph of a model of opset 13 or newer in ONNX's own domain. Older forms of operators are brought to the
// newest: reductions' `axes` attribute becomes an input. Initializers stay in the file, which the sources keep open.
// Throws unsupported naming node and operator for what has no definition here: other domains, subgraphs, functions,
// values that are no tensors.
ir::Graph import_onnx(const std::shared_ptr<const io::OnnxFile>& file);

}  // namespace lathe::frontend
