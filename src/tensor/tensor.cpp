#include "tensor/tensor.h"

#include <sys/mman.h>

#include <cmath>
#include <cstring>
#include <new>

#include "base/checked.h"
#include "base/numbers.h"

namespace lathe::tensor {
namespace {

constexpr std::align_val_t kAlignment{64};

// Calls body with a value of the C++ type that stores one element of `dtype`; false for other types.
template <class Body>
bool with_native_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32: body(float{}); return true;
    case DType::f64: body(double{}); return true;
    case DType::i8: body(int8_t{}); return true;
    case DType::i16: body(int16_t{}); return true;
    case DType::i32: body(int32_t{}); return true;
    case DType::i64: body(int64_t{}); return true;
    case DType::u8: body(uint8_t{}); return true;
    case DType::u16: body(uint16_t{}); return true;
    case DType::u32: body(uint32_t{}); return true;
    case DType::u64: body(uint64_t{}); return true;
    case DType::boolean: body(bool{}); return true;
    default: return false;
  }
}

// Element `index` of a tensor of 4-bit or 2-bit integers, as stored.
unsigned packed_element(const Tensor& tensor, int64_t index, int width) {
  const int per_byte = 8 / width;
  const unsigned byte = unsigned(tensor.bytes()[size_t(index / per_byte)]);
  return (byte >> (index % per_byte * width)) & ((1u << width) - 1);
}

}  // namespace

namespace {

// Large ones come from the system as zeros already. The first touch of a small page costs as much as copying it: they
// get large pages where it has them, or all their pages in one call.
constexpr size_t kMapped = size_t{256} << 10;
constexpr size_t kLarge = size_t{4} << 20;

std::shared_ptr<void> zeros(size_t bytes) {
  if (bytes >= kMapped) {
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    ::madvise(memory, bytes, bytes >= kLarge ? MADV_HUGEPAGE : MADV_POPULATE_WRITE);  // a hint
    return {memory, [bytes](void* p) { ::munmap(p, bytes); }};
  }
  void* memory = ::operator new(bytes, kAlignment, std::nothrow);
  if (!memory) return nullptr;
  std::memset(memory, 0, bytes);
  return {memory, [](void* p) { ::operator delete(p, kAlignment); }};
}

}  // namespace

Tensor::Tensor(DType dtype, Dims dims) : dtype_(dtype), dims_(std::move(dims)) {
  size_ = element_count(dims_);
  if (dtype == DType::string) {
    strings_ = std::make_shared<std::vector<std::string>>(size_t(size_));
    return;
  }
  byte_size_ = tensor::byte_size(dtype, size_);
  if (byte_size_ == 0) return;
  owner_ = zeros(byte_size_);
  if (!owner_) fail(ErrorCode::resource, "no memory for a tensor of {} bytes", byte_size_);
  data_ = static_cast<const std::byte*>(owner_.get());
  writable_ = true;
}

Tensor Tensor::of_strings(Dims dims, std::vector<std::string> values) {
  Tensor result(DType::string, std::move(dims));
  LATHE_CHECK(int64_t(values.size()) == result.size_);
  *result.strings_ = std::move(values);
  return result;
}

Tensor Tensor::view(DType dtype, Dims dims, std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  Tensor result;
  result.dtype_ = dtype;
  result.dims_ = std::move(dims);
  result.size_ = element_count(result.dims_);
  result.byte_size_ = tensor::byte_size(dtype, result.size_);
  if (bytes.size() != result.byte_size_) {
    fail(ErrorCode::invalid_input, "{}{} needs {} bytes, found {}", to_string(dtype),
         to_string(std::span(result.dims_)), result.byte_size_, bytes.size());
  }
  result.data_ = bytes.data();
  result.owner_ = std::move(owner);
  return result;
}

std::span<std::byte> Tensor::mutable_bytes() {
  LATHE_CHECK(writable_ || byte_size_ == 0, "writing to a view");
  return {const_cast<std::byte*>(data_), byte_size_};
}

const std::vector<std::string>& Tensor::strings() const {
  LATHE_CHECK(strings_ != nullptr);
  return *strings_;
}

std::vector<std::string>& Tensor::strings() {
  LATHE_CHECK(strings_ != nullptr);
  return *strings_;
}

Tensor Tensor::reshaped(Dims dims) const {
  Tensor result = *this;
  if (element_count(dims) != size_) {
    fail(ErrorCode::invalid_input, "cannot reshape {} to {}", to_string(std::span(dims_)),
         to_string(std::span<const int64_t>(dims)));
  }
  result.dims_ = std::move(dims);
  return result;
}

double element_as_double(const Tensor& tensor, int64_t index) {
  LATHE_CHECK(index >= 0 && index < tensor.size());
  double value = 0;
  const auto read = [&](auto zero) { value = double(tensor.data<decltype(zero)>()[size_t(index)]); };
  if (with_native_type(tensor.dtype(), read)) return value;
  switch (tensor.dtype()) {
    case DType::f16: return f16_to_f32(tensor.data<uint16_t>()[size_t(index)]);
    case DType::bf16: return bf16_to_f32(tensor.data<uint16_t>()[size_t(index)]);
    case DType::u4: return packed_element(tensor, index, 4);
    case DType::u2: return packed_element(tensor, index, 2);
    case DType::i4: return int(packed_element(tensor, index, 4) ^ 8u) - 8;
    case DType::i2: return int(packed_element(tensor, index, 2) ^ 2u) - 2;
    default: fail(ErrorCode::unsupported, "no arithmetic on {}", to_string(tensor.dtype()));
  }
}

void set_element(Tensor& tensor, int64_t index, double value) {
  LATHE_CHECK(index >= 0 && index < tensor.size());
  const auto write = [&](auto zero) {
    using T = decltype(zero);
    T& out = tensor.data<T>()[size_t(index)];
    if constexpr (std::is_same_v<T, bool>) out = value != 0;
    else if constexpr (std::is_integral_v<T>) {
      out = value >= 0x1p63 ? T(uint64_t(value)) : value >= -0x1p63 ? T(int64_t(value)) : T(INT64_MIN);
    } else out = T(value);
  };
  if (with_native_type(tensor.dtype(), write)) return;
  switch (tensor.dtype()) {
    case DType::f16: tensor.data<uint16_t>()[size_t(index)] = f32_to_f16(float(value)); return;
    case DType::bf16: tensor.data<uint16_t>()[size_t(index)] = f32_to_bf16(float(value)); return;
    case DType::u4:
    case DType::i4:
    case DType::u2:
    case DType::i2: {
      const int width = bits(tensor.dtype());
      const int per_byte = 8 / width;
      const unsigned mask = (1u << width) - 1;
      uint8_t& byte = tensor.data<uint8_t>()[size_t(index / per_byte)];
      const int shift = int(index % per_byte) * width;
      byte = uint8_t((byte & ~(mask << shift)) | ((unsigned(int64_t(value)) & mask) << shift));
      return;
    }
    default: fail(ErrorCode::unsupported, "no arithmetic on {}", to_string(tensor.dtype()));
  }
}

Tensor cast(const Tensor& tensor, DType dtype) {
  if (tensor.dtype() == dtype) return tensor;
  Tensor result(dtype, tensor.dims());
  if (is_integer(tensor.dtype()) && is_integer(dtype) && bits(tensor.dtype()) == 64 && bits(dtype) == 64) {
    std::memcpy(result.mutable_bytes().data(), tensor.bytes().data(), tensor.bytes().size());  // double cannot
    return result;
  }
  for (int64_t i = 0; i < tensor.size(); ++i) set_element(result, i, element_as_double(tensor, i));
  return result;
}

std::vector<float> to_floats(const Tensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.size()));
  if (tensor.dtype() == DType::f32) {
    if (!values.empty()) std::memcpy(values.data(), tensor.bytes().data(), tensor.bytes().size());
    return values;
  }
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(element_as_double(tensor, int64_t(i)));
  return values;
}

}  // namespace lathe::tensor
