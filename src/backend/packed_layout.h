// An order of weights that a device's kernels read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/source.h"

namespace lathe::backend {

// A matrix [rows, columns] in units of unit_rows rows, the last one filled up. Packing loses nothing: what is stored
// can be had back as it was. docs/engine-format.md defines each layout.
class PackedLayout {
 public:
  PackedLayout(std::string_view name, int64_t unit_rows, tensor::DType dtype, tensor::Encoding encoding)
      : name_(name), unit_rows_(unit_rows), dtype_(dtype), encoding_(encoding) {}
  virtual ~PackedLayout() = default;

  std::string_view name() const { return name_; }  // as engines store it
  int64_t unit_rows() const { return unit_rows_; }
  // Whether it holds this kind of weights. The dtype of an encoded constant is what it stands for, not how it is
  // stored, so only that of plain ones counts.
  bool holds(tensor::DType dtype, tensor::Encoding encoding) const {
    return encoding == encoding_ && (encoding != tensor::Encoding::plain || dtype == dtype_);
  }

  // Bytes; throws unsupported naming the numbers when columns do not fill blocks.
  virtual size_t size(int64_t rows, int64_t columns) const = 0;
  virtual size_t unit_size(int64_t columns) const = 0;
  // Units [first, first + count) of `source`, as they lie in the packed matrix. Thread safe, reads only the rows it
  // needs.
  virtual void pack(const tensor::Source& source, int64_t first, int64_t count, std::span<std::byte> out) const = 0;
  // The inverse: rows [first, first + count) as they were stored in the source.
  virtual void unpack(std::span<const std::byte> packed, int64_t rows, int64_t columns, int64_t first, int64_t count,
                      std::span<std::byte> out) const = 0;
  // One row as floats.
  virtual void unpack_row(std::span<const std::byte> packed, int64_t columns, int64_t row,
                          std::span<float> out) const = 0;

 private:
  std::string_view name_;
  int64_t unit_rows_;
  tensor::DType dtype_;
  tensor::Encoding encoding_;
};

}  // namespace lathe::backend
