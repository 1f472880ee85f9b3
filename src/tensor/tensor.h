// A dense tensor in memory, owned and shared by value; what the reference executor computes with.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace lathe::tensor {

// Row-major, contiguous, plain encoding. Copies share storage; writing through data<T>() is for the one who
// just created the tensor.
class Tensor {
 public:
  Tensor() = default;
  // Zero filled. Throws resource when memory runs out, invalid_input on overflow.
  Tensor(DType dtype, Dims dims);
  // A copy of `values`.
  template <class T>
  static Tensor of(Dims dims, std::span<const T> values);
  template <class T>
  static Tensor of(Dims dims, std::initializer_list<T> values) {
    return of<T>(std::move(dims), std::span<const T>(values.begin(), values.size()));
  }
  template <class T>
  static Tensor scalar(T value) {
    return of<T>({}, {value});
  }
  static Tensor of_strings(Dims dims, std::vector<std::string> values);
  // Views memory that lives elsewhere; `owner` keeps it alive.
  static Tensor view(DType dtype, Dims dims, std::span<const std::byte> bytes, std::shared_ptr<const void> owner);

  bool defined() const { return dtype_ != DType::undefined; }
  DType dtype() const { return dtype_; }
  const Dims& dims() const { return dims_; }
  int rank() const { return int(dims_.size()); }
  int64_t size() const { return size_; }  // elements
  std::span<const std::byte> bytes() const { return {data_, byte_size_}; }
  std::span<std::byte> mutable_bytes();  // throws internal on a view

  // T must be the C++ type of dtype(): float, double, int8_t.., uint8_t.., bool for boolean,
  // uint16_t for f16 and bf16, uint8_t for the packed and 8-bit float types.
  template <class T>
  std::span<const T> data() const {
    return {reinterpret_cast<const T*>(data_), byte_size_ / sizeof(T)};
  }
  template <class T>
  std::span<T> data() {
    const auto bytes = mutable_bytes();
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  const std::vector<std::string>& strings() const;
  std::vector<std::string>& strings();

  // The same elements under other dimensions of the same count.
  Tensor reshaped(Dims dims) const;

 private:
  DType dtype_ = DType::undefined;
  Dims dims_;
  int64_t size_ = 0;
  size_t byte_size_ = 0;
  const std::byte* data_ = nullptr;
  bool writable_ = false;
  std::shared_ptr<const void> owner_;
  std::shared_ptr<std::vector<std::string>> strings_;
};

// The dtype that holds T: float -> f32, int64_t -> i64, bool -> boolean. f16 and bf16 have no C++ type.
template <class T>
constexpr DType dtype_of();

// Reads any numeric element type as double, and back with the rounding of the type (floats to nearest even,
// integers truncated and wrapped as ONNX Cast does). Slow; for the reference executor, tests and reports.
double element_as_double(const Tensor& tensor, int64_t index);
void set_element(Tensor& tensor, int64_t index, double value);
// Element-wise conversion, exact where the target can hold the value. Copies nothing if dtype is unchanged.
Tensor cast(const Tensor& tensor, DType dtype);
// f32 values of any float tensor.
std::vector<float> to_floats(const Tensor& tensor);

template <> constexpr DType dtype_of<float>() { return DType::f32; }
template <> constexpr DType dtype_of<double>() { return DType::f64; }
template <> constexpr DType dtype_of<int8_t>() { return DType::i8; }
template <> constexpr DType dtype_of<int16_t>() { return DType::i16; }
template <> constexpr DType dtype_of<int32_t>() { return DType::i32; }
template <> constexpr DType dtype_of<int64_t>() { return DType::i64; }
template <> constexpr DType dtype_of<uint8_t>() { return DType::u8; }
template <> constexpr DType dtype_of<uint16_t>() { return DType::u16; }
template <> constexpr DType dtype_of<uint32_t>() { return DType::u32; }
template <> constexpr DType dtype_of<uint64_t>() { return DType::u64; }
template <> constexpr DType dtype_of<bool>() { return DType::boolean; }

template <class T>
Tensor Tensor::of(Dims dims, std::span<const T> values) {
  Tensor result(dtype_of<T>(), std::move(dims));
  const auto out = result.data<T>();
  for (size_t i = 0; i < out.size() && i < values.size(); ++i) out[i] = values[i];
  return result;
}

}  // namespace lathe::tensor
