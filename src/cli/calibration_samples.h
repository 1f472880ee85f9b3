// The inputs that a graph is calibrated on, from files or made up.
#pragma once

#include <filesystem>

#include "calibrate/samples.h"
#include "ir/graph.h"

namespace lathe::cli {

// Sets of inputs: a folder with one folder for each, or of one set, with NAME.npy or NAME.pb for each input of the
// graph; the first `most` of them (0: all), read when they are asked for. Throws not_found naming folder and input.
calibrate::Samples read_samples(const std::filesystem::path& folder, size_t most, const ir::Graph& graph);

// What verification makes up (verify/graph_runs.h): `count` sets. Throws unsupported naming an input whose type leaves
// too much open.
calibrate::Samples made_up_samples(size_t count, const ir::Graph& graph);

}  // namespace lathe::cli
