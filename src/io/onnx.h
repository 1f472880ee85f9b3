// Reading ONNX: model files of any size, tensors and their external data.
//
// Everything here is given hostile bytes and either succeeds or throws Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "base/file.h"
#include "io/onnx_model.h"
#include "tensor/source.h"
#include "tensor/tensor.h"

namespace lathe::io {

struct OnnxLimits {
  // Messages inside messages; protobuf's own limit. A subgraph costs three levels.
  int max_depth = 100;
  // Memory for the structs and strings of the model (never for tensor values, which stay in the file).
  uint64_t max_structure_bytes = uint64_t{2} << 30;
};

// The model in `bytes`, which must outlive it: tensors view them. Throws invalid_input for anything that is
// not a ModelProto with a graph, resource when a limit is passed.
OnnxModel parse_onnx(std::span<const std::byte> bytes, const OnnxLimits& limits = {});
// A TensorProto alone, as in the `.pb` files of test folders; views `bytes`.
OnnxTensor parse_onnx_tensor(std::span<const std::byte> bytes, const OnnxLimits& limits = {});
// A SequenceProto and an OptionalProto likewise. Throw unsupported for sequences of anything but tensors.
OnnxSequence parse_onnx_sequence(std::span<const std::byte> bytes, const OnnxLimits& limits = {});
OnnxOptional parse_onnx_optional(std::span<const std::byte> bytes, const OnnxLimits& limits = {});

// The values of a tensor that is not external, as an owned copy; strings too. Throws invalid_input when there
// are too few or too many values for the dims or when they do not fit the type, unsupported for segments,
// unknown element types and external data.
tensor::Tensor load_onnx_tensor(const OnnxTensor& tensor);
// The stored bytes without a copy, for raw_data and for packed float and double arrays; nullopt when the
// values have to be decoded. Same errors.
std::optional<std::span<const std::byte>> find_onnx_bytes(const OnnxTensor& tensor);

// An opened model. Immutable and shareable between threads.
class OnnxFile {
 public:
  // Maps and parses `path`; external data is looked for beside it. Throws as MappedFile::open and parse_onnx.
  static std::shared_ptr<const OnnxFile> open(const std::filesystem::path& path,
                                              const OnnxLimits& limits = {});

  // Its tensors view the mapping: they are good as long as this object lives.
  const OnnxModel& model() const { return model_; }
  const std::filesystem::path& path() const { return file_->path(); }
  uint64_t size_bytes() const { return file_->bytes().size(); }

  // The values of one of model()'s tensors, mapped where the file has them in order, else decoded into
  // memory; outlives this object. Throws unsupported for strings (use load) and as load_onnx_tensor.
  //
  // External data: the location is a relative path that ends, symbolic links resolved, inside the model's
  // folder (or in the `blobs` of the Hugging Face cache whose `snapshots` the model lies in), the part inside
  // that file. Anything else is invalid_input, a missing file not_found.
  tensor::SourcePtr tensor_source(const OnnxTensor& tensor) const;
  // The same as a tensor in memory, strings included.
  tensor::Tensor load(const OnnxTensor& tensor) const;
  // A copy of model() whose tensors are sources, or in memory where they cannot be: it does not need this
  // object, and is what write_onnx takes.
  OnnxModel model_with_sources() const;

 private:
  explicit OnnxFile(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}
  std::shared_ptr<const MappedFile> external_file(const OnnxTensor& tensor,
                                                  const std::string& location) const;
  // `tensor` with external data replaced by a view of `file`, which is set to where its bytes then lie.
  OnnxTensor resolve(const OnnxTensor& tensor, std::shared_ptr<const MappedFile>& file) const;

  std::shared_ptr<const MappedFile> file_;
  OnnxModel model_;
  // External files by location, opened when first asked for.
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const MappedFile>> external_files_;
};

}  // namespace lathe::io
