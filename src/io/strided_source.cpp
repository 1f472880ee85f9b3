#include "io/strided_source.h"

#include <cstring>

#include "base/error.h"

namespace lathe::io {
namespace {

using tensor::Dims;
using tensor::DType;

// Whether the elements follow each other in row-major order.
bool in_order(const Dims& dims, const Dims& strides) {
  int64_t expected = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    if (dims[i] != 1 && strides[i] != expected) return false;
    expected *= dims[i];
  }
  return true;
}

class StridedSource final : public tensor::Source {
 public:
  StridedSource(DType dtype, Dims dims, Dims strides, std::span<const std::byte> bytes,
                std::shared_ptr<const MappedFile> file, std::string origin)
      : Source(dtype, tensor::Encoding::plain, std::move(dims), std::move(origin)),
        strides_(std::move(strides)),
        bytes_(bytes),
        file_(std::move(file)),
        width_(tensor::byte_size(dtype, 1)) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    read_part(first, count, 0, row_elements(), out);
  }

  void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                 std::span<std::byte> out) const override {
    LATHE_CHECK(out.size() == size_t(count) * size_t(elements) * width_, "{} rows of {} elements into {} bytes", count,
                elements, out.size());
    std::byte* to = out.data();
    const int64_t step = strides_.back();
    for (int64_t row = first; row < first + count; ++row) {
      const std::byte* from = bytes_.data() + size_t(place_of(row) + begin * step) * width_;
      for (int64_t i = 0; i < elements; ++i, to += width_) {
        std::memcpy(to, from + size_t(i * step) * width_, width_);
      }
    }
  }

 private:
  // Where a row begins, in elements.
  int64_t place_of(int64_t row) const {
    int64_t place = 0;
    for (size_t axis = dims().size() - 1; axis-- > 0; row /= dims()[axis]) place += row % dims()[axis] * strides_[axis];
    return place;
  }

  Dims strides_;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const MappedFile> file_;  // keeps the bytes there
  size_t width_;
};

}  // namespace

tensor::SourcePtr strided_source(DType dtype, Dims dims, Dims strides, std::span<const std::byte> bytes,
                                 std::shared_ptr<const MappedFile> file, std::string origin) {
  const auto plain = [&](Dims lengths) {
    const size_t size = tensor::byte_size(dtype, tensor::element_count(lengths));
    return tensor::mapped_source(dtype, tensor::Encoding::plain, std::move(lengths), bytes.first(size), std::move(file),
                                 std::move(origin));
  };
  if (tensor::element_count(dims) == 0 || in_order(dims, strides)) return plain(std::move(dims));
  // A matrix that was transposed before it was saved.
  if (dims.size() == 2 && strides[0] == 1 && strides[1] == dims[0]) {
    return tensor::transposed_source(plain({dims[1], dims[0]}));
  }
  return std::make_shared<StridedSource>(dtype, std::move(dims), std::move(strides), bytes, std::move(file),
                                         std::move(origin));
}

}  // namespace lathe::io
