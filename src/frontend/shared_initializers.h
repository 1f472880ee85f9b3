// What several graphs of a model hold becomes one initialiser of the main graph, which they see by its name.
#pragma once

#include "io/onnx_model.h"

namespace lathe::frontend {

// Of initialisers whose source is the same; those that a graph returns stay where they are. A file that keeps the
// weights of two branches once, as Optimum's merged decoders do, is written so again.
void share_initializers(io::OnnxGraph& main);
// Drops those that no node reads, here or in a graph below (axes that became attributes), and that are not returned.
void drop_unused_initializers(io::OnnxGraph& main);

}  // namespace lathe::frontend
