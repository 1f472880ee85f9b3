#include "io/onnx_write.h"

#include <limits>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "io/onnx_describe.h"
#include "io/onnx_layout.h"
#include "io/protobuf_wire.h"

namespace lathe::io {
namespace {

// What protobuf libraries accept as one message.
constexpr uint64_t kMaxModelBytes = std::numeric_limits<int32_t>::max();

std::string data_name_of(const std::filesystem::path& path, const OnnxWriteOptions& options) {
  const std::string file_name = path.filename().string();
  const std::string name = options.data_name.empty() ? file_name + "_data" : options.data_name;
  if (name == "." || name == ".." || name.find('/') != std::string::npos || name == file_name) {
    fail(ErrorCode::usage, "\"{}\" is not the name of a data file beside \"{}\"", name, path.string());
  }
  return name;
}

// The measuring pass; `writer` is ready to start.
OnnxWriteSize measure(WireWriter& writer, const OnnxModel& model, const OnnxDataLayout& layout,
                      const std::string& data_name) {
  describe_onnx_model(writer, model, layout, data_name);
  if (writer.size() > kMaxModelBytes) {
    fail(ErrorCode::unsupported, "the model file would have {} bytes, more than protobuf's {}", writer.size(),
         kMaxModelBytes);
  }
  return {writer.size(), layout.size()};
}

}  // namespace

OnnxWriteSize predict_onnx_size(const std::filesystem::path& path, const OnnxModel& model,
                                const OnnxWriteOptions& options) {
  const OnnxDataLayout layout(model, options);
  WireWriter writer;
  return measure(writer, model, layout, data_name_of(path, options));
}

namespace {

void write_model(AtomicFile& file, const OnnxModel& model, const OnnxDataLayout& layout, const std::string& data_name) {
  WireWriter writer;
  measure(writer, model, layout, data_name);
  writer.start([&](std::span<const std::byte> part) { file.write(part); });
  describe_onnx_model(writer, model, layout, data_name);
  writer.finish();
}

struct RemovedFiles {
  std::vector<std::filesystem::path> paths;
  ~RemovedFiles() {
    std::error_code ignored;  // no model names what stays, and the next write removes it
    for (const auto& path : paths) std::filesystem::remove(path, ignored);
  }
};

// Replaces a model and its data, which two renames cannot: between them the old model would read new weights. So
// the new data first get a name of their own and the model is switched to them, then the name that stays is
// given to the same bytes and the model is switched again. Whenever this ends, the model has its own data.
void replace_pair(const std::filesystem::path& path, const std::filesystem::path& data_path, const OnnxModel& model,
                  const OnnxDataLayout& layout, const OnnxWriteOptions& options) {
  const auto data_name = [&](int k) { return std::filesystem::path(fmt::format("{}.new{}", data_path.string(), k)); };
  const auto link_name = [&](int k) { return std::filesystem::path(data_name(k).string() + ".link"); };
  // A name of this kind that exists may be in use, by a model whose write was killed.
  int free = 1;
  while (std::filesystem::exists(data_name(free))) ++free;
  const std::filesystem::path new_data = data_name(free);
  const std::filesystem::path new_model = path.string() + ".new";

  RemovedFiles removed{{new_data, new_model}};
  AtomicFile data(new_data);
  layout.write(data, options);
  AtomicFile between(path);
  write_model(between, model, layout, new_data.filename().string());
  AtomicFile last(new_model);
  write_model(last, model, layout, data_path.filename().string());
  data.commit();
  last.commit();
  between.commit();

  std::error_code error;
  std::filesystem::remove(link_name(free), error);
  std::filesystem::create_hard_link(new_data, link_name(free), error);
  if (!error) std::filesystem::rename(link_name(free), data_path, error);
  if (!error) std::filesystem::rename(new_model, path, error);
  // Where that failed (a file system without links) the pair is complete too: the data keep the name they have.
  // From the highest number down, so that what is left when this is killed is found by counting up.
  removed.paths = {new_model};
  for (int k = free; k > 0; --k) {
    removed.paths.push_back(link_name(k));
    if (k < free || !error) removed.paths.push_back(data_name(k));
  }
}

}  // namespace

OnnxWriteSize write_onnx(const std::filesystem::path& path, const OnnxModel& model, const OnnxWriteOptions& options) {
  const OnnxDataLayout layout(model, options);
  const std::string data_name = data_name_of(path, options);
  const std::filesystem::path data_path = path.parent_path() / data_name;
  const OnnxWriteSize size = predict_onnx_size(path, model, options);
  if (size.data_bytes > 0 && std::filesystem::exists(path) && std::filesystem::exists(data_path)) {
    replace_pair(path, data_path, model, layout, options);
    return size;
  }
  // Both files are complete before either gets its name.
  std::optional<AtomicFile> data_file;
  if (size.data_bytes > 0) {
    data_file.emplace(data_path);
    layout.write(*data_file, options);
  }
  AtomicFile model_file(path);
  write_model(model_file, model, layout, data_name);
  if (data_file) data_file->commit();
  model_file.commit();
  return size;
}

std::vector<std::byte> serialize_onnx_tensor(const OnnxTensor& tensor) {
  if (std::holds_alternative<OnnxExternal>(tensor.values)) {
    fail(ErrorCode::unsupported, "tensor \"{}\": its values are in another file, which is not read here", tensor.name);
  }
  WireWriter writer;
  describe_onnx_tensor(writer, tensor);
  std::vector<std::byte> bytes;
  bytes.reserve(writer.size());
  writer.start([&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); });
  describe_onnx_tensor(writer, tensor);
  writer.finish();
  return bytes;
}

}  // namespace lathe::io
