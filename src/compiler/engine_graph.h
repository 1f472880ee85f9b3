// The graph inside an engine, its constants read back out of the packed weights.
#pragma once

#include <memory>

#include "ir/model.h"
#include "plan/engine_file.h"

namespace lathe::compiler {

// A constant of the engine as it was stored in the checkpoint: packed layouts are unpacked row by row.
tensor::SourcePtr constant_source(std::shared_ptr<const plan::EngineFile> engine, const plan::Constant& constant);

// The exported-form graph with its constants; the sources keep the engine open. Throws invalid_input when the
// text does not fit the constants.
ir::Graph engine_graph(const std::shared_ptr<const plan::EngineFile>& engine);

// Graph, contract and assets: what a rebuild or an export starts from.
ir::Model engine_model(const std::shared_ptr<const plan::EngineFile>& engine);

}  // namespace lathe::compiler
