// Where the weights of a model go when it is written; private to onnx_write*.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "io/onnx_model.h"
#include "io/onnx_write.h"
#include "tensor/source.h"

namespace lathe::io {

// Bytes of the values of any tensor but strings.
uint64_t onnx_value_bytes(const OnnxTensor& tensor);

// The values of any tensor but strings as a source; checks that it has what the tensor says.
tensor::SourcePtr onnx_source(const OnnxTensor& tensor);

// How many rows to read at a time: about `chunk_bytes`, at least one. Transposing sources want 64 to be fast,
// and get them up to four times that size.
int64_t rows_per_piece(const tensor::Source& source, uint64_t chunk_bytes);

// Hands rows [first, first + rows), cut at the end of the source, to put(bytes). `buffer` is kept between
// calls.
template <class Put>
void read_piece(const tensor::Source& source, int64_t first, int64_t rows, std::vector<std::byte>& buffer,
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

// Where a tensor lies in the data file.
struct OnnxPlace {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// Which initializers go to the data file, and where.
class OnnxDataLayout {
 public:
  OnnxDataLayout(const OnnxModel& model, const OnnxWriteOptions& options);

  // nullptr for a tensor that stays in the model file.
  const OnnxPlace* find(const OnnxTensor& tensor) const {
    const auto it = by_tensor_.find(&tensor);
    return it == by_tensor_.end() ? nullptr : &it->second;
  }
  uint64_t size() const { return end_; }

  // Copies the weights into `file`, several threads at once; does not commit it.
  void write(AtomicFile& file, const OnnxWriteOptions& options) const;

 private:
  void place(const OnnxTensor& tensor, const OnnxWriteOptions& options);

  std::vector<tensor::SourcePtr> sources_;  // in file order; shared with the model, or made for this write
  std::unordered_map<const tensor::Source*, OnnxPlace> by_source_;
  std::unordered_map<const OnnxTensor*, OnnxPlace> by_tensor_;
  uint64_t end_ = 0;
};

}  // namespace lathe::io
