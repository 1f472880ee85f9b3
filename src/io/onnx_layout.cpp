#include "io/onnx_layout.h"

#include <atomic>
#include <mutex>

#include "base/checked.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/team.h"
#include "io/onnx.h"

namespace lathe::io {
namespace {

using tensor::DType;
using tensor::Source;
using tensor::SourcePtr;

// A few rows of a source and their place in the file.
struct Piece {
  const Source* source;
  int64_t first, rows;
  uint64_t offset;  // in the file
};

}  // namespace

uint64_t onnx_value_bytes(const OnnxTensor& tensor) {
  return tensor::byte_size(tensor.dtype(), tensor::element_count(tensor.dims));
}

SourcePtr onnx_source(const OnnxTensor& tensor) {
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

int64_t rows_per_piece(const Source& source, uint64_t chunk_bytes) {
  const uint64_t row_bytes = std::max<uint64_t>(source.row_size(), 1);
  const uint64_t rows = std::max<uint64_t>(chunk_bytes / row_bytes, 1);
  if (source.contiguous() || rows >= 64) return int64_t(rows);
  return int64_t(std::min<uint64_t>(std::max<uint64_t>(chunk_bytes * 4 / row_bytes, 1), 64));
}

OnnxDataLayout::OnnxDataLayout(const OnnxModel& model, const OnnxWriteOptions& options) {
  LATHE_CHECK(options.alignment > 0);
  each_graph(model, [&](const OnnxGraph& graph) {
    for (const OnnxTensor& tensor : graph.initializers) place(tensor, options);
  });
}

void OnnxDataLayout::place(const OnnxTensor& tensor, const OnnxWriteOptions& options) {
  if (tensor.dtype() == DType::string) return;
  const uint64_t bytes = onnx_value_bytes(tensor);
  if (bytes < options.external_threshold_bytes || bytes == 0) return;
  SourcePtr source = onnx_source(tensor);
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

void OnnxDataLayout::write(AtomicFile& file, const OnnxWriteOptions& options) const {
  file.reserve(end_);
  std::vector<Piece> pieces;
  Progress progress{"weights", 0, 0};
  for (const SourcePtr& source : sources_) {
    const OnnxPlace& placed = by_source_.at(source.get());
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

}  // namespace lathe::io
