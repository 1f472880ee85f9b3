#include "io/stored_tensor.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::io {
namespace {

// Large enough that a transposed source reads whole cache lines of its base: 64 rows of 65,536 f32 elements.
constexpr size_t kPieceBytes = size_t{16} << 20;

}  // namespace

tensor::SourcePtr StoredTensor::source() const {
  std::string origin = file ? fmt::format("{}: {}", file->path().filename().string(), name) : name;
  return tensor::mapped_source(dtype, encoding, dims, bytes, file, std::move(origin));
}

void TensorList::add(StoredTensor tensor) {
  const auto [it, added] = index_.emplace(tensor.name, tensors_.size());
  if (!added) fail(ErrorCode::invalid_input, "tensor \"{}\" is there twice", tensor.name);
  tensors_.push_back(std::move(tensor));
}

const StoredTensor* TensorList::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

const StoredTensor& TensorList::get(std::string_view name) const {
  const StoredTensor* tensor = find(name);
  if (!tensor) fail(ErrorCode::invalid_input, "missing tensor \"{}\"", name);
  return *tensor;
}

uint64_t TensorList::byte_size() const {
  uint64_t total = 0;
  for (const StoredTensor& tensor : tensors_) total += tensor.bytes.size();
  return total;
}

void write_rows(AtomicFile& file, const tensor::Source& source) {
  const size_t row_size = source.row_size();
  if (source.byte_size() == 0) return;
  const int64_t rows_per_piece = std::max<int64_t>(int64_t(kPieceBytes / row_size), 1);
  const auto bytes = source.contiguous();
  std::vector<std::byte> buffer;
  for (int64_t row = 0; row < source.rows(); row += rows_per_piece) {
    const int64_t rows = std::min(rows_per_piece, source.rows() - row);
    const size_t size = size_t(rows) * row_size;
    const uint64_t offset = file.position();
    if (bytes) {
      file.write(bytes->subspan(size_t(row) * row_size, size));
    } else {
      buffer.resize(size);
      source.read_rows(row, rows, buffer);
      file.write(buffer);
    }
    source.drop_rows(row, rows);
    file.flush_behind(offset, size);
  }
}

}  // namespace lathe::io
