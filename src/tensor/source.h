// Where the bytes of a constant come from: a mapped file, memory, or a function of another source.
//
// Rows are the unit: a tensor of dims [d0, .., dn-1, k] has d0*..*dn-1 rows of k elements (a scalar is one
// row of one element). Nothing here loads a whole tensor unless it is asked to.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/file.h"
#include "tensor/dtype.h"
#include "tensor/encoding.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lathe::tensor {

// Immutable, shareable between threads.
class Source {
 public:
  virtual ~Source() = default;

  DType dtype() const { return dtype_; }
  Encoding encoding() const { return encoding_; }
  const Dims& dims() const { return dims_; }
  int64_t row_elements() const { return dims_.empty() ? 1 : dims_.back(); }
  int64_t rows() const;
  size_t row_size() const;   // bytes of one row as stored; rows of sub-byte plain types must fill whole bytes
  size_t byte_size() const;  // bytes of all rows as stored
  // "model.safetensors: model.norm.weight", for messages.
  const std::string& origin() const { return origin_; }

  // Copies rows [first, first + count) as stored. out.size() == count * row_size().
  virtual void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const = 0;
  // Copies elements [begin, begin + elements) of each of those rows, as stored; both must be multiples of the
  // block (or of a whole byte). The work is in proportion to the part for all sources of this header.
  virtual void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                         std::span<std::byte> out) const;
  // The stored bytes without a copy, if they lie in memory in order.
  virtual std::optional<std::span<const std::byte>> contiguous() const { return std::nullopt; }
  // Rows [first, first + count) will not be read again soon: lets mapped pages go.
  virtual void drop_rows(int64_t first, int64_t count) const;

  // Rows [first, first + count) as floats, dequantised or widened. out.size() == count * row_elements().
  // Throws unsupported for encodings without a dequantiser and for non-float dtypes. f64 is rounded.
  void read_rows_f32(int64_t first, int64_t count, std::span<float> out) const;

 protected:
  Source(DType dtype, Encoding encoding, Dims dims, std::string origin);

 private:
  DType dtype_;
  Encoding encoding_;
  Dims dims_;
  std::string origin_;
};

using SourcePtr = std::shared_ptr<const Source>;

// A part of a mapped file. bytes.size() must equal the tensor's size (invalid_input otherwise). Without a
// file the bytes are the caller's, who keeps them alive.
SourcePtr mapped_source(DType dtype, Encoding encoding, Dims dims, std::span<const std::byte> bytes,
                        std::shared_ptr<const MappedFile> file, std::string origin);
// A tensor in memory.
SourcePtr memory_source(Tensor tensor, std::string origin);
// `count` rows of `base`, output row r being base row map(r): GPT-NeoX's interleaved QKV, GGUF's rotary
// order. The result has dims `dims` (same row length as base).
SourcePtr row_mapped_source(SourcePtr base, Dims dims, std::function<int64_t(int64_t)> map);
// `base` converted to another plain float dtype (dequantised if need be), row by row: f64, f32, f16 or bf16,
// rounded to nearest even by way of f32.
SourcePtr converted_source(SourcePtr base, DType dtype);
// A [rows, columns] plain matrix transposed to [columns, rows]. A call that reads n rows reads n columns of
// base, in blocks of bounded size; 64 rows or more a call are needed for full speed.
SourcePtr transposed_source(SourcePtr base);
// The same stored bytes under other dims (same row length unless plain).
SourcePtr reshaped_source(SourcePtr base, Dims dims);

// The whole source as a plain tensor: stored bytes if plain, f32 if encoded. A bool byte above 1 is
// invalid_input.
Tensor load(const Source& source);

}  // namespace lathe::tensor
