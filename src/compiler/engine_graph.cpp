#include "compiler/engine_graph.h"

#include "backend/kernel.h"
#include "base/error.h"

namespace lathe::compiler {
namespace {

using backend::PackedLayout;
using tensor::SourcePtr;

// Rows of a packed matrix in the order and encoding of the checkpoint.
class PackedSource : public tensor::Source {
 public:
  PackedSource(std::shared_ptr<const plan::EngineFile> engine, const plan::Constant& constant,
               const PackedLayout& layout)
      : Source(constant.dtype, constant.encoding, constant.dims, constant.name),
        engine_(std::move(engine)),
        packed_(engine_->constant(constant)),
        layout_(layout) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    layout_.unpack(packed_, rows(), row_elements(), first, count, out);
  }

 private:
  std::shared_ptr<const plan::EngineFile> engine_;  // shared: sources outlive the reader
  std::span<const std::byte> packed_;
  const PackedLayout& layout_;
};

}  // namespace

SourcePtr constant_source(std::shared_ptr<const plan::EngineFile> engine, const plan::Constant& constant) {
  if (constant.layout == "plain") {
    const auto bytes = engine->constant(constant);
    return tensor::mapped_source(constant.dtype, constant.encoding, constant.dims, bytes, engine->file(),
                                 constant.name);
  }
  const PackedLayout* layout = backend::find_layout(constant.layout);
  if (!layout)
    fail(ErrorCode::invalid_input, "constant \"{}\": layout \"{}\" is not known", constant.name, constant.layout);
  backend::check_packed(constant);  // an engine that is rebuilt is not bound to kernels, which would have asked
  return std::make_shared<PackedSource>(std::move(engine), constant, *layout);
}

ir::Graph engine_graph(const std::shared_ptr<const plan::EngineFile>& engine) {
  const auto resolve = [&](const std::string& name, tensor::DType dtype, tensor::Encoding encoding,
                           const tensor::Dims& dims) {
    for (const plan::Constant& constant : engine->manifest().plan.constants) {
      if (constant.name != name) continue;
      SourcePtr source = constant_source(engine, constant);
      if (source->dims() != dims) {
        fail(ErrorCode::invalid_input, "constant \"{}\": expected {}, found {}", name,
             tensor::to_string(std::span<const int64_t>(dims)),
             tensor::to_string(std::span<const int64_t>(source->dims())));
      }
      const bool as_stored = source->dtype() == dtype && source->encoding() == encoding;
      if (as_stored) return source;
      if (encoding != tensor::Encoding::plain) {
        fail(ErrorCode::invalid_input, "constant \"{}\": expected {}, found {}", name, tensor::to_string(encoding),
             tensor::to_string(source->encoding()));
      }
      return tensor::converted_source(std::move(source), dtype);
    }
    fail(ErrorCode::invalid_input, "the graph names a constant \"{}\" that the engine does not hold", name);
  };
  return ir::parse(engine->manifest().graph, resolve);
}

ir::Model engine_model(const std::shared_ptr<const plan::EngineFile>& engine) {
  ir::Model model;
  model.contract = engine->manifest().contract;
  model.graphs.emplace("main", engine_graph(engine));
  for (const plan::AssetEntry& entry : engine->manifest().assets) {
    const auto bytes = engine->find_asset(entry.name);
    model.assets[entry.name] = {std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
  }
  return model;
}

}  // namespace lathe::compiler
