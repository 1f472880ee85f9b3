#include "op/values.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/checked.h"
#include "base/numbers.h"

namespace lathe::op {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::Tensor;

// Calls body with a value of the C++ type of one element; false for types that have none.
template <class Body>
bool with_native_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      body(float{});
      return true;
    case DType::f64:
      body(double{});
      return true;
    case DType::i8:
      body(int8_t{});
      return true;
    case DType::i16:
      body(int16_t{});
      return true;
    case DType::i32:
      body(int32_t{});
      return true;
    case DType::i64:
      body(int64_t{});
      return true;
    case DType::u8:
      body(uint8_t{});
      return true;
    case DType::u16:
      body(uint16_t{});
      return true;
    case DType::u32:
      body(uint32_t{});
      return true;
    case DType::u64:
      body(uint64_t{});
      return true;
    case DType::boolean:
      body(bool{});
      return true;
    default:
      return false;
  }
}

// Element i of a type of 2, 4 or 8 bits, as stored.
unsigned raw_element(const std::byte* bytes, int bits, int64_t i) {
  const int per_byte = 8 / bits;
  return (unsigned(bytes[i / per_byte]) >> (i % per_byte * bits)) & ((1u << bits) - 1);
}

void set_raw_element(std::byte* bytes, int bits, int64_t i, unsigned value) {
  const int per_byte = 8 / bits;
  const int shift = int(i % per_byte) * bits;
  const unsigned mask = ((1u << bits) - 1) << shift;
  std::byte& byte = bytes[i / per_byte];
  byte = std::byte((unsigned(byte) & ~mask) | ((value << shift) & mask));
}

int64_t double_to_int(double value) {
  if (std::isnan(value)) return 0;
  if (value >= 0x1p63) return value < 0x1p64 ? int64_t(uint64_t(value)) : INT64_MAX;
  return value >= -0x1p63 ? int64_t(value) : INT64_MIN;
}

template <class To, class V>
To convert(V value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != V{0};
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<V>) {
    return To(double_to_int(value));
  } else {
    return To(value);
  }
}

// Bits of a value of one of the types without a C++ type.
template <class V>
unsigned encode(DType dtype, V value) {
  switch (dtype) {
    case DType::f16:
      return double_to_f16(double(value));
    case DType::bf16:
      return double_to_bf16(double(value));
    case DType::u4:
    case DType::i4:
    case DType::u2:
    case DType::i2:
      return unsigned(convert<int64_t>(value));
    default:
      if (is_small_float(dtype)) return encode_small_float(dtype, double(value));
      fail(ErrorCode::unsupported, "no arithmetic on {}", tensor::to_string(dtype));
  }
}

double decode(DType dtype, unsigned bits) {
  switch (dtype) {
    case DType::f16:
      return f16_to_f32(uint16_t(bits));
    case DType::bf16:
      return bf16_to_f32(uint16_t(bits));
    case DType::u4:
    case DType::u2:
      return bits;
    case DType::i4:
      return int(bits ^ 8u) - 8;
    case DType::i2:
      return int(bits ^ 2u) - 2;
    default:
      if (is_small_float(dtype)) return decode_small_float(dtype, uint8_t(bits));
      fail(ErrorCode::unsupported, "no arithmetic on {}", tensor::to_string(dtype));
  }
}

}  // namespace

template <class V>
std::vector<V> load(const Tensor& tensor) {
  const DType dtype = tensor.dtype();
  LATHE_CHECK(std::is_floating_point_v<V> || !tensor::is_float(dtype), "{} as integers",
              tensor::to_string(dtype));
  std::vector<V> values(size_t(tensor.size()));
  const auto copy = [&](auto zero) {
    using T = decltype(zero);
    const auto data = tensor.data<T>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = convert<V>(data[i]);
  };
  if (with_native_type(dtype, copy)) return values;
  const bool wide = tensor::bits(dtype) == 16;
  for (size_t i = 0; i < values.size(); ++i) {
    const unsigned bits =
        wide ? tensor.data<uint16_t>()[i]
             : raw_element(tensor.bytes().data(), std::max(tensor::bits(dtype), 1), int64_t(i));
    values[i] = V(decode(dtype, bits));
  }
  return values;
}

template <class V>
Tensor store(DType dtype, Dims dims, const std::vector<V>& values) {
  Tensor result(dtype, std::move(dims));
  LATHE_CHECK(result.size() == int64_t(values.size()));
  const auto copy = [&](auto zero) {
    using T = decltype(zero);
    const auto data = result.data<T>();
    for (size_t i = 0; i < values.size(); ++i) data[i] = convert<T>(values[i]);
  };
  if (with_native_type(dtype, copy)) return result;
  const bool wide = tensor::bits(dtype) == 16;
  for (size_t i = 0; i < values.size(); ++i) {
    const unsigned bits = encode(dtype, values[i]);
    if (wide)
      result.data<uint16_t>()[i] = uint16_t(bits);
    else
      set_raw_element(result.mutable_bytes().data(), tensor::bits(dtype), int64_t(i), bits);
  }
  return result;
}

template std::vector<double> load(const Tensor&);
template std::vector<int64_t> load(const Tensor&);
template std::vector<uint64_t> load(const Tensor&);
template Tensor store(DType, Dims, const std::vector<double>&);
template Tensor store(DType, Dims, const std::vector<int64_t>&);
template Tensor store(DType, Dims, const std::vector<uint64_t>&);

int64_t load_int(const Tensor& tensor) {
  if (tensor.size() != 1) fail(ErrorCode::invalid_input, "expected one element, found {}", tensor.size());
  return load<int64_t>(tensor)[0];
}

double load_double(const Tensor& tensor) {
  if (tensor.size() != 1) fail(ErrorCode::invalid_input, "expected one element, found {}", tensor.size());
  return load<double>(tensor)[0];
}

Dims contiguous_strides(std::span<const int64_t> dims) {
  Dims strides(dims.size());
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= dims[i];
  }
  return strides;
}

Dims broadcast_strides(std::span<const int64_t> from, std::span<const int64_t> to) {
  const Dims own = contiguous_strides(from);
  Dims strides(to.size(), 0);
  const size_t shift = to.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] != 1) strides[i + shift] = own[i];
  }
  return strides;
}

Dims broadcast_dims(std::span<const int64_t> a, std::span<const int64_t> b) {
  return *tensor::to_dims(tensor::broadcast(tensor::to_shape(a), tensor::to_shape(b)));
}

ElementCopier::ElementCopier(const Tensor& source, Tensor& target)
    : source_(source), target_(target), bits_(tensor::bits(source.dtype())) {
  LATHE_CHECK(source.dtype() == target.dtype());
  if (source.dtype() == DType::string) return;
  from_ = source.bytes().data();
  to_ = target.mutable_bytes().data();
}

void ElementCopier::copy(int64_t from, int64_t to) {
  if (bits_ >= 8) {
    const int64_t width = bits_ / 8;
    std::memcpy(to_ + to * width, from_ + from * width, size_t(width));
  } else if (bits_ > 0) {
    set_raw_element(to_, bits_, to, raw_element(from_, bits_, from));
  } else {
    target_.strings()[size_t(to)] = source_.strings()[size_t(from)];
  }
}

Tensor clone(const Tensor& source) {
  if (source.dtype() == tensor::DType::string) return Tensor::of_strings(source.dims(), source.strings());
  Tensor copy(source.dtype(), source.dims());
  const auto bytes = source.bytes();
  std::copy(bytes.begin(), bytes.end(), copy.mutable_bytes().begin());
  return copy;
}

int64_t count_of(std::span<const int64_t> dims, size_t begin, size_t end) {
  int64_t count = 1;
  for (size_t i = begin; i < end; ++i) count = checked_mul(count, dims[i], "element count");
  return count;
}

}  // namespace lathe::op
