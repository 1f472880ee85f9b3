// A graph of an engine, made ready for sessions.
#pragma once

#include <memory>

#include "plan/engine_file.h"

namespace lathe::backend {

// The graph with its constants as kernels read them: views of the engine's mapping, and those that engines store as
// they were packed now, by all threads. `graph` is one of the engine's manifest, which has passed plan::check. Throws
// unsupported for a device or a layout that this program does not have, with the command that builds the engine again;
// invalid_input for packed constants that are not exactly what their layout takes, or that instructions read otherwise.
std::shared_ptr<const plan::GraphModel> load_graph(const plan::EngineFile& engine, const plan::EngineGraph& graph);

// The least of the device's instruction sets that reads the model's packed constants.
int least_isa(const plan::GraphModel& model);
// Throws unsupported for less.
void require_isa(const plan::GraphModel& model, int isa);

}  // namespace lathe::backend
