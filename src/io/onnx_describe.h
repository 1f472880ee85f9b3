// The messages of an ONNX file, described to a WireWriter: once to measure and once to write.
#pragma once

#include <string>

#include "io/onnx_layout.h"
#include "io/onnx_model.h"
#include "io/protobuf_wire.h"

namespace lathe::io {

// Values that `layout` has a place for are said to be in the file `data_name`, all others are inline. Throws internal
// for a model that contradicts itself.
void describe_onnx_model(WireWriter& out, const OnnxModel& model, const OnnxDataLayout& layout,
                         const std::string& data_name);
// All inline.
void describe_onnx_tensor(WireWriter& out, const OnnxTensor& tensor);

}  // namespace lathe::io
