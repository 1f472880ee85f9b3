// Graphs and pictures in less than fp32: what a build calibrates on, and the gates of a whole picture.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "cli/build_graph.h"
#include "compiler/graph_engine.h"
#include "verify/picture_gates.h"
#include "verify/verify_graph_engine.h"

namespace lathe::cli {

using PictureRecordingPtr = std::shared_ptr<const verify::PictureRecording>;  // null: not of pictures

// Finds the islands of each graph of the request: of a pipeline on what its graphs are given while it draws a picture
// in fp32, which is returned; of others on the inputs of the flags, made up where they are not given.
PictureRecordingPtr calibrate_graphs(compiler::GraphEngineRequest& engine, contract::Precision precision,
                                     const GraphBuildRequest& request, const Output& output);

// Gate 9 of an engine of pictures, none of another. `graph_of`: its graphs as they are in fp32; `recording` of them, if
// it is there already.
std::vector<plan::Gate> gates_of_pictures(const std::filesystem::path& engine,
                                          const std::function<ir::Graph(const std::string&)>& graph_of,
                                          const PictureRecordingPtr& recording,
                                          const verify::GraphEngineVerifyOptions& options);

}  // namespace lathe::cli
