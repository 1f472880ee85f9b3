// Elements of tensors as numbers to compute with, and moving elements about without looking at them.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "op/small_float.h"
#include "tensor/tensor.h"

namespace lathe::op {

// All elements as V: double (any numeric type or boolean, exact up to 2^53), int64_t or uint64_t (integers
// and boolean; the other signedness wraps).
template <class V>
std::vector<V> load(const tensor::Tensor& tensor);
// The inverse, rounding once: floats to nearest even (8-bit floats saturate), integers wrap, boolean is != 0.
// A double out of an integer's range gives some value, never undefined behaviour.
template <class V>
tensor::Tensor store(tensor::DType dtype, tensor::Dims dims, const std::vector<V>& values);
// The only element of a tensor.
int64_t load_int(const tensor::Tensor& tensor);
double load_double(const tensor::Tensor& tensor);

// Calls body(V{}) with the type that operators compute in: double for floats (a result of +, -, *, / or sqrt
// in double, rounded once, is what the type itself would give), int64_t for signed, uint64_t for unsigned
// integers and boolean.
template <class Body>
decltype(auto) with_compute_type(tensor::DType dtype, Body&& body) {
  if (tensor::is_float(dtype)) return body(double{});
  switch (dtype) {
    case tensor::DType::i8:
    case tensor::DType::i16:
    case tensor::DType::i32:
    case tensor::DType::i64:
    case tensor::DType::i4:
    case tensor::DType::i2:
      return body(int64_t{});
    default:
      return body(uint64_t{});
  }
}

// Elements of `tensor` as const T*, T being float (f32 without a copy; f16, bf16) or double.
template <class T>
class RealView {
 public:
  explicit RealView(const tensor::Tensor& tensor) : tensor_(tensor) {
    if (tensor.dtype() == tensor::dtype_of<T>()) {
      data_ = tensor.data<T>().data();  // const: a view cannot be written
    } else if constexpr (std::is_same_v<T, float>) {
      copy_ = tensor::to_floats(tensor);
      data_ = copy_.data();
    } else {
      copy_ = load<double>(tensor);
      data_ = copy_.data();
    }
  }
  const T* data() const { return data_; }
  T operator[](int64_t i) const { return data_[i]; }

 private:
  tensor::Tensor tensor_;
  std::vector<T> copy_;
  const T* data_;
};

// Row-major strides of contiguous dims, in elements.
tensor::Dims contiguous_strides(std::span<const int64_t> dims);
// Strides that read a tensor of dims `from` as if broadcast to `to`.
tensor::Dims broadcast_strides(std::span<const int64_t> from, std::span<const int64_t> to);
// Strides into a tensor of dims `from` for every axis.
tensor::Dims broadcast_dims(std::span<const int64_t> a, std::span<const int64_t> b);

// Visits the positions of `dims` in row-major order; next() gives start + sum(index * stride).
class Walk {
 public:
  Walk(tensor::Dims dims, tensor::Dims strides, int64_t start = 0)
      : dims_(std::move(dims)), strides_(std::move(strides)), index_(dims_.size()), offset_(start) {}
  int64_t next() {
    const int64_t result = offset_;
    for (size_t i = dims_.size(); i-- > 0;) {
      offset_ += strides_[i];
      if (++index_[i] < dims_[i]) break;
      offset_ -= strides_[i] * dims_[i];
      index_[i] = 0;
    }
    return result;
  }
  // The position that the coming next() belongs to.
  const tensor::Dims& index() const { return index_; }

 private:
  tensor::Dims dims_;
  tensor::Dims strides_;
  tensor::Dims index_;
  int64_t offset_;
};

// Copies element `from` of `source` to element `to` of `target`; both of one dtype, of any kind.
class ElementCopier {
 public:
  ElementCopier(const tensor::Tensor& source, tensor::Tensor& target);
  void copy(int64_t from, int64_t to);

 private:
  const tensor::Tensor& source_;
  tensor::Tensor& target_;
  int bits_;
  const std::byte* from_ = nullptr;
  std::byte* to_ = nullptr;
};

// A tensor whose element i is source's element next(); next is called once for each, in order.
template <class Next>
tensor::Tensor take(const tensor::Tensor& source, tensor::Dims dims, Next&& next) {
  tensor::Tensor result(source.dtype(), std::move(dims));
  ElementCopier copier(source, result);
  for (int64_t i = 0; i < result.size(); ++i) copier.copy(next(), i);
  return result;
}

// A copy that may be written to (inputs may be views).
tensor::Tensor clone(const tensor::Tensor& source);

// Product of dims[begin, end).
int64_t count_of(std::span<const int64_t> dims, size_t begin, size_t end);

}  // namespace lathe::op
