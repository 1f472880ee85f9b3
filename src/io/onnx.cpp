#include "io/onnx.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"

namespace lathe::io {
namespace {

namespace fs = std::filesystem;
using tensor::DType;
using tensor::Encoding;

// ONNX Runtime's mark for data in its own memory: an address, never a file.
constexpr std::string_view kMemoryMark = "_ORT_MEM_ADDR_";

// Whether `path` is `folder` or below it. Both canonical.
bool is_inside(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

// The Hugging Face cache keeps files as links: models--org--name/snapshots/REVISION/file ->
// models--org--name/blobs/HASH. Returns that `blobs` folder if `folder` lies in such a `snapshots`.
std::optional<fs::path> find_cache_blobs(const fs::path& folder) {
  for (fs::path at = folder; at.has_relative_path(); at = at.parent_path()) {
    const fs::path repository = at.parent_path();
    if (at.filename() == "snapshots" && repository.filename().string().starts_with("models--")) {
      return repository / "blobs";
    }
  }
  return std::nullopt;
}

// The file that `location` names beside the model, or an Error.
fs::path resolve_location(const fs::path& model, const std::string& location) {
  const fs::path relative(location);
  const bool climbs = std::find(relative.begin(), relative.end(), "..") != relative.end();
  if (location.empty() || location.find('\0') != std::string::npos || relative.is_absolute() || climbs ||
      location.find(kMemoryMark) != std::string::npos) {
    fail(ErrorCode::invalid_input, "external data location \"{}\" is not a path inside the model's folder",
         location);
  }
  std::error_code error;
  const fs::path folder = fs::canonical(model.has_parent_path() ? model.parent_path() : ".", error);
  const fs::path target = error ? fs::path() : fs::canonical(folder / relative, error);
  if (error) fail(ErrorCode::not_found, "external data file \"{}\": {}", location, error.message());
  const std::optional<fs::path> blobs = find_cache_blobs(folder);
  if (!is_inside(target, folder) && !(blobs && target.parent_path() == *blobs)) {
    fail(ErrorCode::invalid_input, "external data location \"{}\" leads out of the model's folder", location);
  }
  if (!fs::is_regular_file(target, error)) {
    fail(ErrorCode::invalid_input, "external data location \"{}\" is not a file", location);
  }
  return target;
}

}  // namespace

std::shared_ptr<const OnnxFile> OnnxFile::open(const fs::path& path, const OnnxLimits& limits) {
  const std::shared_ptr<OnnxFile> result(new OnnxFile(MappedFile::open(path)));
  with_context(path.string(), [&] { result->model_ = parse_onnx(result->file_->bytes(), limits); });
  return result;
}

std::shared_ptr<const MappedFile> OnnxFile::external_file(const OnnxTensor& tensor,
                                                          const std::string& location) const {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const MappedFile>& file = external_files_[location];
  if (!file) {
    file = with_context(fmt::format("tensor \"{}\"", tensor.name),
                        [&] { return MappedFile::open(resolve_location(path(), location)); });
  }
  return file;
}

OnnxTensor OnnxFile::resolve(const OnnxTensor& tensor, std::shared_ptr<const MappedFile>& file) const {
  file = file_;
  const auto* external = std::get_if<OnnxExternal>(&tensor.values);
  if (!external) return tensor;
  const DType dtype = tensor.dtype();
  if (dtype == DType::string) {
    fail(ErrorCode::invalid_input, "tensor \"{}\": strings cannot be external", tensor.name);
  }
  const uint64_t size = tensor::byte_size(dtype, tensor::element_count(tensor.dims));
  if (external->length.value_or(size) != size) {
    fail(ErrorCode::invalid_input, "tensor \"{}\": expected {} bytes of external data, found {}", tensor.name,
         size, *external->length);
  }
  file = external_file(tensor, external->location);
  const uint64_t offset = external->offset.value_or(0);
  const auto all = file->bytes();
  if (offset > all.size() || size > all.size() - offset) {
    fail(ErrorCode::invalid_input, "tensor \"{}\": {} bytes at {} are beyond the end of \"{}\", which has {}",
         tensor.name, size, offset, external->location, all.size());
  }
  OnnxTensor result = tensor;
  result.values = OnnxRaw{all.subspan(size_t(offset), size_t(size))};
  return result;
}

tensor::SourcePtr OnnxFile::tensor_source(const OnnxTensor& tensor) const {
  if (const auto* source = std::get_if<tensor::SourcePtr>(&tensor.values)) return *source;
  std::shared_ptr<const MappedFile> file;
  const OnnxTensor resolved = resolve(tensor, file);
  if (tensor.dtype() == DType::string) {
    fail(ErrorCode::unsupported, "tensor \"{}\" holds strings, not numbers", tensor.name);
  }
  const std::string origin = fmt::format("{}: {}", file->path().filename().string(), tensor.name);
  if (const auto bytes = find_onnx_bytes(resolved)) {
    return tensor::mapped_source(tensor.dtype(), Encoding::plain, tensor.dims, *bytes, file, origin);
  }
  return tensor::memory_source(load_onnx_tensor(resolved), origin);
}

tensor::Tensor OnnxFile::load(const OnnxTensor& tensor) const {
  std::shared_ptr<const MappedFile> file;
  return load_onnx_tensor(resolve(tensor, file));
}

OnnxModel OnnxFile::model_with_sources() const {
  OnnxModel result = model_;
  each_tensor(result, [&](OnnxTensor& tensor) {
    const DType dtype = tensor.dtype();
    const int64_t row = tensor.dims.empty() ? 1 : tensor.dims.back();
    if (dtype == DType::string || tensor::bits(dtype) * (row % 8) % 8 != 0)
      tensor.values = load(tensor);
    else
      tensor.values = tensor_source(tensor);
  });
  return result;
}

}  // namespace lathe::io
