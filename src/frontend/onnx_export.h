// Graph -> ONNX model structs, and a language model folder that ONNX Runtime and Optimum load.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "base/log.h"
#include "io/onnx_model.h"
#include "ir/graph.h"
#include "ir/model.h"

namespace lathe::frontend {

struct OnnxExportOptions {
  int opset = 18;  // kOldestExportOpset to kNewestExportOpset
  // Block-quantised constants as DequantizeLinear (opset 21 or higher) where that is lossless; else as floats.
  bool keep_quantized = false;
  // Of outputs whose type only the run knows, and ONNX wants to be told: see declared_types.
  std::map<std::string, io::OnnxType> declared = {};
};

// What a model says of its outputs and of values on the way.
std::map<std::string, io::OnnxType> declared_types(const io::OnnxModel& model);

// What became of the block-quantised constants.
struct QuantizedReport {
  int kept = 0;
  std::map<std::string, int> widened;  // encoding -> count written as floats
};

// `graph` must already be lowered to options.opset. Sources stay sources: nothing is read. Constants that are
// only used through a transposition are given transposed, so that no Transpose of a weight remains.
io::OnnxModel to_onnx(const ir::Graph& graph, const OnnxExportOptions& options, QuantizedReport* report = nullptr);

// Lowers and converts the decoder graph of a model, with static sizes bound first: names "batch", "sequence",
// "past" (or the symbols' own names) to numbers. Throws usage for a name the graph does not have.
io::OnnxModel export_decoder(const ir::Model& model, const OnnxExportOptions& options,
                             const std::map<std::string, int64_t>& static_dims, QuantizedReport* report = nullptr);

// The opset's IR version, as the ONNX release that introduced it.
int64_t ir_version_for_opset(int opset);

}  // namespace lathe::frontend
