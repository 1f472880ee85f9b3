// The graphs inside an engine, as graphs again.
#include "backend/device.h"
#include "backend/graph_kernel.h"
#include "base/checked.h"
#include "compiler/graph_engine.h"

namespace lathe::compiler {
namespace {

using plan::EngineFile;
using plan::StoredSource;
using tensor::SourcePtr;

// A constant out of a packed layout of graphs.
class UnpackedSource final : public tensor::Source {
 public:
  UnpackedSource(std::shared_ptr<const EngineFile> engine, const StoredSource& stored, tensor::Dims dims,
                 const backend::GraphLayout& layout, std::span<const std::byte> packed)
      : Source(stored.dtype, tensor::Encoding::plain, std::move(dims), stored.name),
        engine_(std::move(engine)),
        packed_(packed),
        layout_(layout),
        variant_(stored.variant) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    LATHE_CHECK(first >= 0 && count >= 0 && first + count <= rows() && out.size() == size_t(count) * row_size());
    layout_.unpack(dims(), variant_, packed_, first * row_elements(), count * row_elements(), out);
  }

 private:
  std::shared_ptr<const EngineFile> engine_;  // shared: sources outlive the reader
  std::span<const std::byte> packed_;
  const backend::GraphLayout& layout_;
  int64_t variant_;
};

const backend::GraphLayout* find_layout(std::string_view name) {
  for (const backend::Device* device : backend::devices()) {
    if (const backend::GraphLayout* layout = backend::find_graph_layout(*device, name)) return layout;
  }
  return nullptr;
}

// As the bytes lie, transposed or not.
SourcePtr stored_source(const std::shared_ptr<const EngineFile>& engine, const StoredSource& stored,
                        tensor::Dims dims) {
  const auto bytes = engine->weights().subspan(size_t(stored.offset), size_t(stored.bytes));
  const int64_t count = tensor::element_count(std::span<const int64_t>(dims));
  if (stored.encoding != tensor::Encoding::plain) {
    return tensor::mapped_source(stored.dtype, stored.encoding, std::move(dims), bytes, engine->file(), stored.name);
  }
  const size_t size = tensor::byte_size(stored.dtype, count);
  if (stored.layout == "plain") {
    if (size != bytes.size()) fail(ErrorCode::invalid_input, "it takes {} bytes, found {}", size, bytes.size());
    return tensor::memory_source(tensor::Tensor::view(stored.dtype, std::move(dims), bytes, engine), stored.name);
  }
  const backend::GraphLayout* layout = find_layout(stored.layout);
  if (!layout || !layout->stored()) fail(ErrorCode::invalid_input, "layout \"{}\" is not known", stored.layout);
  // Packed constants are at least half as large as plain ones; so what size() computes with is no larger than twice the
  // file.
  if (size / 2 > bytes.size() || layout->size(dims, stored.variant) != bytes.size()) {
    fail(ErrorCode::invalid_input, "{} bytes in {} are not {}{}", bytes.size(), stored.layout, to_string(stored.dtype),
         tensor::to_string(std::span<const int64_t>(dims)));
  }
  if (stored.dtype != layout->plain)
    fail(ErrorCode::invalid_input, "{} in {}", to_string(stored.dtype), stored.layout);
  return std::make_shared<UnpackedSource>(engine, stored, std::move(dims), *layout, bytes);
}

SourcePtr source_of(const std::shared_ptr<const EngineFile>& engine, const StoredSource& stored) {
  if (stored.dtype == tensor::DType::string) {
    return tensor::memory_source(tensor::Tensor::of_strings(stored.dims, stored.strings), stored.name);
  }
  if (!stored.transposed) return stored_source(engine, stored, stored.dims);
  return tensor::transposed_source(stored_source(engine, stored, {stored.dims.at(1), stored.dims.at(0)}));
}

}  // namespace

ir::Graph stored_graph(const std::shared_ptr<const EngineFile>& engine, const plan::EngineGraph& graph) {
  size_t next = 0;
  const auto resolve = [&](const std::string& name, tensor::DType, tensor::Encoding, const tensor::Dims&) {
    if (next >= graph.sources.size() || graph.sources[next].name != name) {
      fail(ErrorCode::invalid_input, "the graph names a constant \"{}\", the engine holds \"{}\"", name,
           next < graph.sources.size() ? graph.sources[next].name : "none more");
    }
    return with_context(fmt::format("constant \"{}\"", name), [&] { return source_of(engine, graph.sources[next++]); });
  };
  return with_context(fmt::format("graph \"{}\"", graph.name), [&] { return ir::parse(graph.text, resolve); });
}

GraphEngineRequest engine_request(const std::shared_ptr<const EngineFile>& engine) {
  GraphEngineRequest request;
  request.pipeline = engine->manifest().pipeline;
  for (const plan::EngineGraph& graph : engine->manifest().graphs) {
    request.graphs.push_back({graph.name, stored_graph(engine, graph), graph.profile, graph.allow_nonfinite,
                              graph.islands});
  }
  for (const plan::AssetEntry& entry : engine->manifest().assets) {
    const auto bytes = engine->find_asset(entry.name);
    request.assets[entry.name] = {std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
  }
  return request;
}

}  // namespace lathe::compiler
