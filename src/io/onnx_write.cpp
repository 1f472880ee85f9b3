#include "io/onnx_write.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <unordered_map>

#include "base/checked.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/team.h"
#include "io/onnx.h"
#include "io/protobuf_wire.h"

namespace lathe::io {
namespace {

using tensor::DType;
using tensor::Source;
using tensor::SourcePtr;

// What protobuf libraries accept as one message.
constexpr uint64_t kMaxModelBytes = std::numeric_limits<int32_t>::max();
constexpr size_t kInlineChunkBytes = size_t{1} << 20;

// ---- Values
// -------------------------------------------------------------------------------------------------

uint64_t value_bytes(const OnnxTensor& tensor) {
  return tensor::byte_size(tensor.dtype(), tensor::element_count(tensor.dims));
}

// The values of any tensor but strings as a source; checks that it has what the tensor says.
SourcePtr source_of(const OnnxTensor& tensor) {
  LATHE_CHECK(!std::holds_alternative<OnnxExternal>(tensor.values), "tensor {} is not resolved", tensor.name);
  if (const auto* source = std::get_if<SourcePtr>(&tensor.values)) {
    LATHE_CHECK(*source && (*source)->dtype() == tensor.dtype() && (*source)->dims() == tensor.dims,
                "tensor {} and its source differ", tensor.name);
    if ((*source)->encoding() != tensor::Encoding::plain) {
      fail(ErrorCode::unsupported, "tensor \"{}\": ONNX has no {} blocks", tensor.name,
           to_string((*source)->encoding()));
    }
    return *source;
  }
  // One row: a source cannot have sub-byte rows that end inside a byte.
  const tensor::Dims flat = {tensor::element_count(tensor.dims)};
  if (const auto bytes = find_onnx_bytes(tensor)) {
    return tensor::mapped_source(tensor.dtype(), tensor::Encoding::plain, flat, *bytes, nullptr, tensor.name);
  }
  return tensor::memory_source(load_onnx_tensor(tensor).reshaped(flat), tensor.name);
}

// How many rows to read at a time: about `chunk_bytes`, at least one. Transposing sources want 64 to be fast,
// and get them up to four times that size.
int64_t rows_per_piece(const Source& source, uint64_t chunk_bytes) {
  const uint64_t row_bytes = std::max<uint64_t>(source.row_size(), 1);
  const uint64_t rows = std::max<uint64_t>(chunk_bytes / row_bytes, 1);
  if (source.contiguous() || rows >= 64) return int64_t(rows);
  return int64_t(std::min<uint64_t>(std::max<uint64_t>(chunk_bytes * 4 / row_bytes, 1), 64));
}

// Hands rows [first, first + rows), cut at the end of the source, to put(bytes). `buffer` is kept between
// calls.
template <class Put>
void read_piece(const Source& source, int64_t first, int64_t rows, std::vector<std::byte>& buffer,
                Put&& put) {
  rows = std::min(rows, source.rows() - first);
  const size_t size = size_t(rows) * source.row_size();
  if (const auto bytes = source.contiguous()) {
    put(bytes->subspan(size_t(first) * source.row_size(), size));
  } else {
    buffer.resize(size);
    source.read_rows(first, rows, buffer);
    put(std::span<const std::byte>(buffer));
  }
  source.drop_rows(first, rows);
}

// ---- The data file
// ------------------------------------------------------------------------------------------

struct Placed {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// Which initializers go to the data file, and where.
class DataLayout {
 public:
  DataLayout(const OnnxModel& model, const OnnxWriteOptions& options) {
    LATHE_CHECK(options.alignment > 0);
    each_graph(model, [&](const OnnxGraph& graph) {
      for (const OnnxTensor& tensor : graph.initializers) place(tensor, options);
    });
  }

  const Placed* find(const OnnxTensor& tensor) const {
    const auto it = by_tensor_.find(&tensor);
    return it == by_tensor_.end() ? nullptr : &it->second;
  }
  uint64_t size() const { return end_; }

  void write(AtomicFile& file, const OnnxWriteOptions& options) const;

 private:
  struct Piece {
    const Source* source;
    int64_t first, rows;
    uint64_t offset;  // in the file
  };

  void place(const OnnxTensor& tensor, const OnnxWriteOptions& options) {
    if (tensor.dtype() == DType::string) return;
    const uint64_t bytes = value_bytes(tensor);
    if (bytes < options.external_threshold_bytes || bytes == 0) return;
    SourcePtr source = source_of(tensor);
    const auto [it, is_new] = by_source_.try_emplace(source.get());
    if (is_new) {
      const uint64_t offset =
          checked_add(end_, options.alignment - 1, "data file") / options.alignment * options.alignment;
      it->second = {offset, bytes};
      end_ = checked_add(offset, bytes, "data file");
      sources_.push_back(std::move(source));
    }
    by_tensor_.emplace(&tensor, it->second);
  }

  std::vector<SourcePtr> sources_;  // in file order; shared with the model, or made for this write
  std::unordered_map<const Source*, Placed> by_source_;
  std::unordered_map<const OnnxTensor*, Placed> by_tensor_;
  uint64_t end_ = 0;
};

void DataLayout::write(AtomicFile& file, const OnnxWriteOptions& options) const {
  file.reserve(end_);
  std::vector<Piece> pieces;
  Progress progress{"weights", 0, 0};
  for (const SourcePtr& source : sources_) {
    const Placed& placed = by_source_.at(source.get());
    const int64_t rows = rows_per_piece(*source, options.chunk_bytes);
    for (int64_t first = 0; first < source->rows(); first += rows) {
      pieces.push_back({source.get(), first, rows, placed.offset + uint64_t(first) * source->row_size()});
    }
    progress.total_bytes += placed.bytes;
  }
  const int threads = options.threads > 0 ? options.threads : std::min(available_cpus(), 4);
  Team team(std::max(1, std::min(threads, int(std::min<size_t>(pieces.size(), 64)))));
  std::atomic<size_t> next{0};
  std::mutex progress_mutex;
  team.run([&](TeamMember&) {
    std::vector<std::byte> buffer;
    try {
      for (size_t i = next++; i < pieces.size(); i = next++) {
        const Piece& piece = pieces[i];
        read_piece(*piece.source, piece.first, piece.rows, buffer, [&](auto bytes) {
          file.write_at(piece.offset, bytes);
          file.flush_behind(piece.offset, bytes.size());
          const std::lock_guard lock(progress_mutex);
          progress.done_bytes += bytes.size();
          options.progress(progress);
        });
      }
    } catch (...) {
      next = pieces.size();  // the others stop after their piece; run() rethrows
      throw;
    }
  });
}

// ---- The model file
// -----------------------------------------------------------------------------------------

// Describes messages to a WireWriter; called once to measure and once to write.
class ModelWriter {
 public:
  // Without a layout everything is inline.
  ModelWriter(WireWriter& out, const DataLayout* layout, std::string data_name)
      : out_(out), layout_(layout), data_name_(std::move(data_name)) {}

  void model(const OnnxModel& model);
  void tensor(const OnnxTensor& tensor);

 private:
  void graph(const OnnxGraph& graph);
  void node(const OnnxNode& node);
  void attribute(const OnnxAttribute& attribute);
  void attribute_value(const OnnxAttribute& attribute);
  void values(const OnnxTensor& tensor);
  void sparse_tensor(const OnnxSparseTensor& sparse);
  void value_info(const OnnxValueInfo& info);
  void type(const OnnxType& type);
  void tensor_type(const OnnxType& type);
  void function(const OnnxFunction& function);
  void training(const OnnxTraining& training);

  void optional_text(uint32_t field, const std::string& value) {
    if (!value.empty()) out_.text(field, value);
  }
  void texts(uint32_t field, const std::vector<std::string>& values) {
    for (const std::string& value : values) out_.text(field, value);
  }
  void integers(uint32_t field, const std::vector<int64_t>& values) {
    for (const int64_t value : values) out_.integer(field, value);
  }
  void property(uint32_t field, std::string_view key, std::string_view value) {
    out_.message(field, [&] {
      out_.text(1, key);
      out_.text(2, value);
    });
  }
  void properties(uint32_t field, const OnnxProperties& values) {
    for (const auto& [key, value] : values) property(field, key, value);
  }
  void opsets(uint32_t field, const std::vector<OnnxOpset>& values) {
    for (const OnnxOpset& opset : values) {
      out_.message(field, [&] {
        out_.text(1, opset.domain);
        out_.integer(2, opset.version);
      });
    }
  }
  template <class T>
  void messages(uint32_t field, const std::vector<T>& values, void (ModelWriter::*describe)(const T&)) {
    for (const T& value : values) out_.message(field, [&] { (this->*describe)(value); });
  }

  WireWriter& out_;
  const DataLayout* layout_;
  std::string data_name_;
};

void ModelWriter::model(const OnnxModel& model) {
  out_.integer(1, model.ir_version);
  optional_text(2, model.producer_name);
  optional_text(3, model.producer_version);
  optional_text(4, model.domain);
  if (model.model_version != 0) out_.integer(5, model.model_version);
  optional_text(6, model.doc_string);
  out_.message(7, [&] { graph(model.graph); });
  opsets(8, model.opsets);
  properties(14, model.metadata);
  messages(20, model.trainings, &ModelWriter::training);
  messages(25, model.functions, &ModelWriter::function);
  texts(26, model.configurations);
}

void ModelWriter::graph(const OnnxGraph& graph) {
  messages(1, graph.nodes, &ModelWriter::node);
  optional_text(2, graph.name);
  messages(5, graph.initializers, &ModelWriter::tensor);
  optional_text(10, graph.doc_string);
  messages(11, graph.inputs, &ModelWriter::value_info);
  messages(12, graph.outputs, &ModelWriter::value_info);
  messages(13, graph.value_infos, &ModelWriter::value_info);
  for (const OnnxQuantization& quantization : graph.quantizations) {
    out_.message(14, [&] {
      out_.text(1, quantization.tensor_name);
      properties(2, quantization.parameters);
    });
  }
  messages(15, graph.sparse_initializers, &ModelWriter::sparse_tensor);
  properties(16, graph.metadata);
}

void ModelWriter::node(const OnnxNode& node) {
  texts(1, node.inputs);
  texts(2, node.outputs);
  optional_text(3, node.name);
  out_.text(4, node.op_type);
  messages(5, node.attributes, &ModelWriter::attribute);
  optional_text(6, node.doc_string);
  optional_text(7, node.domain);
  optional_text(8, node.overload);
  properties(9, node.metadata);
  texts(10, node.device_configurations);
}

void ModelWriter::attribute(const OnnxAttribute& attribute) {
  out_.text(1, attribute.name);
  attribute_value(attribute);
  optional_text(13, attribute.doc_string);
  out_.integer(20, int64_t(attribute.type));
  optional_text(21, attribute.ref_attr_name);
}

void ModelWriter::attribute_value(const OnnxAttribute& attribute) {
  using Type = OnnxAttributeType;
  const Type type = attribute.type;
  if (std::holds_alternative<std::monostate>(attribute.value)) return;
  // The value as T; a value of another kind than `type` says is a bug of whoever built the model.
  const auto as = [&]<class T>(std::type_identity<T>) -> const T& {
    const T* value = std::get_if<T>(&attribute.value);
    LATHE_CHECK(value, "attribute {} does not hold a {}", attribute.name, to_string(type));
    return *value;
  };
  const auto list = [&]<class T>(uint32_t field, bool single, void (ModelWriter::*describe)(const T&)) {
    const auto& values = as(std::type_identity<std::vector<T>>());
    LATHE_CHECK(!single || values.size() == 1, "attribute {} has {} values", attribute.name, values.size());
    messages(field, values, describe);
  };
  switch (type) {
    case Type::undefined:
      LATHE_CHECK(false, "attribute {} has a value and no type", attribute.name);
      break;
    case Type::f32:
      out_.fixed32(2, as(std::type_identity<float>()));
      break;
    case Type::i64:
      out_.integer(3, as(std::type_identity<int64_t>()));
      break;
    case Type::string:
      out_.text(4, as(std::type_identity<std::string>()));
      break;
    case Type::tensor:
      list(5, true, &ModelWriter::tensor);
      break;
    case Type::graph:
      list(6, true, &ModelWriter::graph);
      break;
    case Type::floats:
      for (const float value : as(std::type_identity<std::vector<float>>())) out_.fixed32(7, value);
      break;
    case Type::ints:
      integers(8, as(std::type_identity<std::vector<int64_t>>()));
      break;
    case Type::strings:
      texts(9, as(std::type_identity<std::vector<std::string>>()));
      break;
    case Type::tensors:
      list(10, false, &ModelWriter::tensor);
      break;
    case Type::graphs:
      list(11, false, &ModelWriter::graph);
      break;
    case Type::type:
      list(14, true, &ModelWriter::type);
      break;
    case Type::types:
      list(15, false, &ModelWriter::type);
      break;
    case Type::sparse_tensor:
      list(22, true, &ModelWriter::sparse_tensor);
      break;
    case Type::sparse_tensors:
      list(23, false, &ModelWriter::sparse_tensor);
      break;
  }
}

void ModelWriter::tensor(const OnnxTensor& tensor) {
  integers(1, tensor.dims);
  out_.integer(2, tensor.data_type);
  const Placed* placed = layout_ ? layout_->find(tensor) : nullptr;
  if (!placed && tensor.dtype() == DType::string) texts(6, load_onnx_tensor(tensor).strings());
  optional_text(8, tensor.name);
  if (!placed && tensor.dtype() != DType::string) values(tensor);
  optional_text(12, tensor.doc_string);
  if (placed) {
    property(13, "location", data_name_);
    property(13, "offset", std::to_string(placed->offset));
    property(13, "length", std::to_string(placed->bytes));
    out_.integer(14, 1);  // EXTERNAL
  }
  properties(16, tensor.metadata);
}

// Always raw_data, whatever array the values were read from.
void ModelWriter::values(const OnnxTensor& tensor) {
  out_.stream(9, value_bytes(tensor), [&](const WireWriter::Sink& sink) {
    const SourcePtr source = source_of(tensor);
    if (source->byte_size() == 0) return;  // perhaps very many empty rows
    const int64_t rows = rows_per_piece(*source, kInlineChunkBytes);
    std::vector<std::byte> buffer;
    for (int64_t first = 0; first < source->rows(); first += rows)
      read_piece(*source, first, rows, buffer, sink);
  });
}

void ModelWriter::sparse_tensor(const OnnxSparseTensor& sparse) {
  out_.message(1, [&] { tensor(sparse.values); });
  out_.message(2, [&] { tensor(sparse.indices); });
  integers(3, sparse.dims);
}

void ModelWriter::value_info(const OnnxValueInfo& info) {
  out_.text(1, info.name);
  if (info.type) out_.message(2, [&] { type(*info.type); });
  optional_text(3, info.doc_string);
  properties(4, info.metadata);
}

void ModelWriter::type(const OnnxType& type) {
  using Kind = OnnxType::Kind;
  const auto element = [&](uint32_t field) { messages(field, type.element, &ModelWriter::type); };
  switch (type.kind) {
    case Kind::none:
      break;
    case Kind::tensor:
      out_.message(1, [&] { tensor_type(type); });
      break;
    case Kind::sequence:
      out_.message(4, [&] { element(1); });
      break;
    case Kind::map:
      out_.message(5, [&] {
        out_.integer(1, type.key_type);
        element(2);
      });
      break;
    case Kind::opaque:
      out_.message(7, [&] {
        optional_text(1, type.domain);
        optional_text(2, type.name);
      });
      break;
    case Kind::sparse_tensor:
      out_.message(8, [&] { tensor_type(type); });
      break;
    case Kind::optional:
      out_.message(9, [&] { element(1); });
      break;
  }
  optional_text(6, type.denotation);
}

void ModelWriter::tensor_type(const OnnxType& type) {
  out_.integer(1, type.elem_type);
  if (!type.shape) return;
  out_.message(2, [&] {
    for (const OnnxDim& dim : *type.shape) {
      out_.message(1, [&] {
        if (const auto* number = std::get_if<int64_t>(&dim.value)) out_.integer(1, *number);
        if (const auto* symbol = std::get_if<std::string>(&dim.value)) out_.text(2, *symbol);
        optional_text(3, dim.denotation);
      });
    }
  });
}

void ModelWriter::function(const OnnxFunction& function) {
  out_.text(1, function.name);
  texts(4, function.inputs);
  texts(5, function.outputs);
  texts(6, function.attributes);
  messages(7, function.nodes, &ModelWriter::node);
  optional_text(8, function.doc_string);
  opsets(9, function.opsets);
  optional_text(10, function.domain);
  messages(11, function.default_attributes, &ModelWriter::attribute);
  messages(12, function.value_infos, &ModelWriter::value_info);
  optional_text(13, function.overload);
  properties(14, function.metadata);
}

void ModelWriter::training(const OnnxTraining& training) {
  if (training.initialization) out_.message(1, [&] { graph(*training.initialization); });
  if (training.algorithm) out_.message(2, [&] { graph(*training.algorithm); });
  properties(3, training.initialization_binding);
  properties(4, training.update_binding);
}

// ---- Both
// ---------------------------------------------------------------------------------------------------

std::string data_name_of(const std::filesystem::path& path, const OnnxWriteOptions& options) {
  const std::string file_name = path.filename().string();
  const std::string name = options.data_name.empty() ? file_name + "_data" : options.data_name;
  if (name == "." || name == ".." || name.find('/') != std::string::npos || name == file_name) {
    fail(ErrorCode::usage, "\"{}\" is not the name of a data file beside \"{}\"", name, path.string());
  }
  return name;
}

// The measuring pass; `writer` is ready to start.
OnnxWriteSize measure(WireWriter& writer, ModelWriter& describe, const OnnxModel& model,
                      const DataLayout& layout) {
  describe.model(model);
  if (writer.size() > kMaxModelBytes) {
    fail(ErrorCode::unsupported, "the model file would have {} bytes, more than protobuf's {}", writer.size(),
         kMaxModelBytes);
  }
  return {writer.size(), layout.size()};
}

}  // namespace

OnnxWriteSize predict_onnx_size(const std::filesystem::path& path, const OnnxModel& model,
                                const OnnxWriteOptions& options) {
  const DataLayout layout(model, options);
  WireWriter writer;
  ModelWriter describe(writer, &layout, data_name_of(path, options));
  return measure(writer, describe, model, layout);
}

OnnxWriteSize write_onnx(const std::filesystem::path& path, const OnnxModel& model,
                         const OnnxWriteOptions& options) {
  const DataLayout layout(model, options);
  const std::string data_name = data_name_of(path, options);
  WireWriter writer;
  ModelWriter describe(writer, &layout, data_name);
  const OnnxWriteSize size = measure(writer, describe, model, layout);

  // Both files are complete before either gets its name.
  std::optional<AtomicFile> data_file;
  if (size.data_bytes > 0) {
    data_file.emplace(path.parent_path() / data_name);
    layout.write(*data_file, options);
  }
  AtomicFile model_file(path);
  writer.start([&](std::span<const std::byte> part) { model_file.write(part); });
  describe.model(model);
  writer.finish();
  if (data_file) data_file->commit();
  model_file.commit();
  return size;
}

std::vector<std::byte> serialize_onnx_tensor(const OnnxTensor& tensor) {
  WireWriter writer;
  ModelWriter describe(writer, nullptr, "");
  describe.tensor(tensor);
  std::vector<std::byte> bytes;
  bytes.reserve(writer.size());
  writer.start([&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); });
  describe.tensor(tensor);
  writer.finish();
  return bytes;
}

}  // namespace lathe::io
