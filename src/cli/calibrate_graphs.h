// Graphs and pictures in less than fp32: what a build calibrates on, and the gates of a whole picture.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "cli/build_graph.h"
#include "cli/picture_model.h"
#include "compiler/graph_engine.h"
#include "verify/picture_gates.h"
#include "verify/verify_graph_engine.h"

namespace lathe::cli {

using PictureRecordingPtr = std::shared_ptr<const verify::PictureRecording>;  // null: not of pictures

// A picture in fp32 with what each graph was given and gave; null for a pipeline without a tokenizer.
PictureRecordingPtr record_picture(const PictureModel& model, const runtime::GraphOptions& options, bool full);

// Finds the islands of each graph of the request, and for int8 rounds it: of a pipeline (`model`, in fp32; else null)
// on what its graphs are given while it draws a picture, which is returned; of others on the inputs of the flags, made
// up where they are not given.
PictureRecordingPtr calibrate_graphs(compiler::GraphEngineRequest& engine, contract::Precision precision,
                                     const PictureModel* model, const GraphBuildRequest& request, const Output& output);

// As open_picture_model; a folder or file in int8 is calibrated now, with notes of what stays in fp32.
PictureModel open_pictures(const std::filesystem::path& path, const frontend::PictureOptions& options, bool check,
                           const std::string& precision, const runtime::GraphOptions& run, const Output& output);

// Gate 9 of an engine of pictures, none of another. `graph_of`: its graphs as they are in fp32; `recording` of them, if
// it is there already.
std::vector<plan::Gate> gates_of_pictures(const std::filesystem::path& engine,
                                          const std::function<ir::Graph(const std::string&)>& graph_of,
                                          const PictureRecordingPtr& recording,
                                          const verify::GraphEngineVerifyOptions& options);

}  // namespace lathe::cli
