#include "op/copy_region.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "op/values.h"

namespace lathe::op {
namespace {

// How many of the last axes lie in a row in both.
size_t axes_in_a_row(const tensor::Dims& dims, const Placement& from, const Placement& to) {
  int64_t run = 1;
  size_t axis = dims.size();
  for (; axis > 0; --axis) {
    const size_t i = axis - 1;
    if (dims[i] != 1 && (from.strides[i] != run || to.strides[i] != run)) break;
    run *= dims[i];
  }
  return dims.size() - axis;
}

tensor::Dims leading(const tensor::Dims& values, size_t count) {
  return {values.begin(), values.begin() + std::ptrdiff_t(count)};
}

}  // namespace

void copy_region(const tensor::Dims& dims, const tensor::Tensor& source, const Placement& from, tensor::Tensor& target,
                 const Placement& to) {
  const int bits = tensor::bits(source.dtype());
  const bool whole_bytes = bits > 0 && bits % 8 == 0;  // strings have none, small integers share theirs
  const size_t outer = dims.size() - (whole_bytes ? axes_in_a_row(dims, from, to) : 0);
  const int64_t runs = count_of(dims, 0, outer);
  const int64_t run = count_of(dims, outer, dims.size());
  if (runs == 0 || run == 0) return;
  const tensor::Dims outer_dims = leading(dims, outer);
  Walk reads(outer_dims, leading(from.strides, outer), from.start);
  Walk writes(outer_dims, leading(to.strides, outer), to.start);
  if (run == 1) {
    ElementCopier copier(source, target);
    for (int64_t i = 0; i < runs; ++i) {
      const int64_t at = reads.next();
      copier.copy(at, writes.next());
    }
    return;
  }
  LATHE_CHECK(source.dtype() == target.dtype());
  const int64_t width = bits / 8;
  const std::span<const std::byte> bytes = source.bytes();
  const std::span<std::byte> result = target.mutable_bytes();
  for (int64_t i = 0; i < runs; ++i) {
    const auto read = bytes.subspan(size_t(reads.next() * width), size_t(run * width));
    std::memcpy(result.data() + writes.next() * width, read.data(), read.size());
  }
}

tensor::Tensor take_region(const tensor::Tensor& source, tensor::Dims dims, const Placement& from) {
  tensor::Tensor result(source.dtype(), dims);
  const Placement whole{contiguous_strides(dims)};
  copy_region(dims, source, from, result, whole);
  return result;
}

}  // namespace lathe::op
