// Writing ONNX: the model file, and beside it one file with the large weights, streamed from their sources.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/log.h"
#include "io/onnx_model.h"

namespace lathe::io {

struct OnnxWriteOptions {
  // Initializers of at least this many bytes go to the data file; everything else (attributes, strings,
  // sparse tensors too) stays in the model file.
  uint64_t external_threshold_bytes = 1024;
  // Name of the data file, beside the model file. Empty: the model file's name with "_data" appended.
  std::string data_name;
  // Where tensors begin in the data file: the page size, so that a reader can map each of them.
  uint64_t alignment = 4096;
  // Told about the bytes of step "weights"; from one thread at a time.
  ProgressSink progress = null_progress();
  // Weights are read and written in pieces of about this size, or one row if that is larger. Peak memory is
  // this times the threads.
  uint64_t chunk_bytes = uint64_t{4} << 20;
  // 0: as many as CPUs, but at most 4.
  int threads = 0;
};

struct OnnxWriteSize {
  uint64_t model_bytes = 0;
  uint64_t data_bytes = 0;  // 0: no data file
  uint64_t total_bytes() const { return model_bytes + data_bytes; }
};

// What write_onnx would write, to the byte, without reading a source. Throws what write_onnx throws for
// models and options that cannot be written.
OnnxWriteSize predict_onnx_size(const std::filesystem::path& path, const OnnxModel& model,
                                const OnnxWriteOptions& options = {});

// Writes `path` and its data file, replacing files of those names. All or nothing: the data file appears when
// it is complete, the model file after it, and on failure both stay as they were.
//
// A model that was read comes from OnnxFile::model_with_sources(). Initializers that share one source share
// one place in the data file. The same model gives the same bytes.
//
// Throws usage for a bad data name, unsupported for block-quantised sources (convert them first) and for
// model files above 2 GB (protobuf's limit; only attributes and strings can get there), resource when the
// disk is full, io, and whatever the sources throw.
OnnxWriteSize write_onnx(const std::filesystem::path& path, const OnnxModel& model,
                         const OnnxWriteOptions& options = {});

// The TensorProto of `tensor`, values inline, for `.pb` files of test folders.
std::vector<std::byte> serialize_onnx_tensor(const OnnxTensor& tensor);

}  // namespace lathe::io
