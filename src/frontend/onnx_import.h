// ONNX model structs -> graph, for any model in the operators that src/op has.
#pragma once

#include <memory>

#include "io/onnx.h"
#include "ir/graph.h"

namespace lathe::frontend {

// The main graph of a model of opset 1 to 27. Operators of older opsets are brought to the newest form, model-local
// functions are inlined, graphs inside nodes are closed (docs/adr/0004). Initializers stay in the file, which the
// sources keep open; one that is an input, too, is a constant. Throws unsupported naming all nodes whose operators are
// not known, or the node whose old form has no newest one; invalid_input for a graph that is none.
ir::Graph import_onnx(const std::shared_ptr<const io::OnnxFile>& file);

}  // namespace lathe::frontend
