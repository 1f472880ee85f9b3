// The values of a TensorProto: raw bytes as they are, typed arrays decoded to the same little-endian form.
#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "io/onnx.h"
#include "io/protobuf_wire.h"

namespace lathe::io {
namespace {

using tensor::DType;
using Bytes = std::span<const std::byte>;

// The typed arrays of TensorProto, by field number.
enum class Array : uint32_t { floats = 4, int32s = 5, strings = 6, int64s = 7, doubles = 10, uint64s = 11 };

// Which one holds values of `dtype`.
Array array_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::c64:
      return Array::floats;
    case DType::f64:
    case DType::c128:
      return Array::doubles;
    case DType::i64:
      return Array::int64s;
    case DType::u32:
    case DType::u64:
      return Array::uint64s;
    case DType::string:
      return Array::strings;
    default:
      return Array::int32s;
  }
}

[[noreturn]] void fail_size(const OnnxTensor& tensor, uint64_t expected, uint64_t found,
                            std::string_view unit) {
  fail(ErrorCode::invalid_input, "tensor \"{}\" {}{}: expected {} {}, found {}", tensor.name,
       to_string(tensor.dtype()), tensor::to_string(std::span<const int64_t>(tensor.dims)), expected, unit,
       found);
}

// How many entries the typed array needs. Sub-byte elements come packed, as many to an entry as fill a byte.
uint64_t expected_entries(DType dtype, int64_t elements) {
  if (dtype == DType::string) return uint64_t(elements);
  if (dtype == DType::c64 || dtype == DType::c128)
    return checked_mul(uint64_t(elements), uint64_t{2}, "elements");
  return tensor::bits(dtype) < 8 ? tensor::byte_size(dtype, elements) : uint64_t(elements);
}

// Runs over a packed or unpacked 4-byte or 8-byte array; `part` gets each run of stored bytes.
template <class Part>
void each_run(Bytes message, Array array, Part&& part) {
  for (WireReader in(message); in.next();) {
    if (in.field() == uint32_t(array)) {
      part(array == Array::floats ? in.fixed32_run() : in.fixed64_run());
    }
  }
}

template <class Value>
void each_integer(Bytes message, Array array, Value&& value) {
  for (WireReader in(message); in.next();) {
    if (in.field() == uint32_t(array)) in.each_varint(value);
  }
}

// One entry of int32_data, uint64_data or int64_data as `width` bytes. 16-bit and 8-bit entries may be sign
// or zero extended: writers differ for bit patterns.
void put_integer(const OnnxTensor& tensor, uint64_t entry, size_t width, std::byte* out) {
  if (width < 8) {
    const int64_t value = int64_t(entry);
    const int64_t end = int64_t{1} << (8 * width);
    if (value < -end / 2 || value >= end) {
      fail(ErrorCode::invalid_input, "tensor \"{}\": {} is not a value of {}", tensor.name, value,
           to_string(tensor.dtype()));
    }
  }
  std::memcpy(out, &entry, width);
}

tensor::Tensor decode_strings(const OnnxTensor& tensor, Bytes message, uint64_t expected) {
  std::vector<std::string> strings;
  for (WireReader in(message); in.next();) {
    if (in.field() == uint32_t(Array::strings)) strings.emplace_back(in.as_text());
  }
  if (strings.size() != expected) fail_size(tensor, expected, strings.size(), "strings");
  return tensor::Tensor::of_strings(tensor.dims, std::move(strings));
}

tensor::Tensor decode_typed(const OnnxTensor& tensor, Bytes message) {
  const DType dtype = tensor.dtype();
  const Array array = array_of(dtype);
  const uint64_t expected = expected_entries(dtype, tensor::element_count(tensor.dims));
  if (array == Array::strings) return decode_strings(tensor, message, expected);

  // Count first: the dims are not to be trusted with an allocation.
  uint64_t found = 0;
  const bool fixed = array == Array::floats || array == Array::doubles;
  const size_t entry_bytes = array == Array::floats ? sizeof(float) : sizeof(double);
  if (fixed) {
    each_run(message, array, [&](Bytes run) { found += run.size() / entry_bytes; });
  } else {
    each_integer(message, array, [&](uint64_t) { ++found; });
  }
  if (found != expected) fail_size(tensor, expected, found, "values");

  tensor::Tensor result(dtype, tensor.dims);
  std::byte* out = result.mutable_bytes().data();
  if (fixed) {
    each_run(message, array, [&](Bytes run) {
      if (!run.empty()) std::memcpy(out, run.data(), run.size());
      out += run.size();
    });
  } else {
    const size_t width = std::max(tensor::bits(dtype) / 8, 1);
    each_integer(message, array, [&](uint64_t entry) {
      put_integer(tensor, entry, width, out);
      if (dtype == DType::boolean) *out = std::byte(entry != 0);
      out += width;
    });
  }
  return result;
}

// Any bool byte but 0 and 1 would be undefined behaviour later on.
void check_bools(const OnnxTensor& tensor, Bytes bytes) {
  const auto bad = std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; });
  if (bad != bytes.end()) {
    fail(ErrorCode::invalid_input, "tensor \"{}\": {} is not a value of bool", tensor.name, int(*bad));
  }
}

// What every access needs: a known type, dims that multiply, values in one piece.
void check_readable(const OnnxTensor& tensor) {
  tensor.dtype();
  tensor::element_count(tensor.dims);
  if (tensor.segmented) fail(ErrorCode::unsupported, "tensor \"{}\" is stored in segments", tensor.name);
  if (std::holds_alternative<OnnxExternal>(tensor.values)) {
    fail(ErrorCode::unsupported, "tensor \"{}\" is in another file and needs the model's folder",
         tensor.name);
  }
}

}  // namespace

std::optional<Bytes> find_onnx_bytes(const OnnxTensor& tensor) {
  check_readable(tensor);
  const DType dtype = tensor.dtype();
  if (dtype == DType::string) return std::nullopt;
  const size_t expected = tensor::byte_size(dtype, tensor::element_count(tensor.dims));
  Bytes bytes;  // stays empty for a tensor without values
  if (const OnnxRaw* raw = std::get_if<OnnxRaw>(&tensor.values)) {
    bytes = raw->bytes;
    if (bytes.size() == expected && dtype == DType::boolean) check_bools(tensor, bytes);
  } else if (const OnnxTyped* typed = std::get_if<OnnxTyped>(&tensor.values)) {
    const Array array = array_of(dtype);
    if (array != Array::floats && array != Array::doubles) return std::nullopt;
    int runs = 0;
    each_run(typed->message, array, [&](Bytes run) {
      bytes = run;
      ++runs;
    });
    if (runs > 1) return std::nullopt;
  } else if (const tensor::Tensor* owned = std::get_if<tensor::Tensor>(&tensor.values)) {
    bytes = owned->bytes();
  } else if (const tensor::SourcePtr* source = std::get_if<tensor::SourcePtr>(&tensor.values)) {
    return (*source)->contiguous();
  }
  if (bytes.size() != expected) fail_size(tensor, expected, bytes.size(), "bytes");
  return bytes;
}

tensor::Tensor load_onnx_tensor(const OnnxTensor& tensor) {
  check_readable(tensor);
  if (const auto* owned = std::get_if<tensor::Tensor>(&tensor.values)) {
    if (owned->dtype() != tensor.dtype()) {
      fail(ErrorCode::invalid_input, "tensor \"{}\" of {} holds {}", tensor.name, to_string(tensor.dtype()),
           to_string(owned->dtype()));
    }
    return owned->reshaped(tensor.dims);
  }
  if (const auto* source = std::get_if<tensor::SourcePtr>(&tensor.values)) return tensor::load(**source);
  if (const std::optional<Bytes> bytes = find_onnx_bytes(tensor)) {
    tensor::Tensor result(tensor.dtype(), tensor.dims);
    if (!bytes->empty()) std::memcpy(result.mutable_bytes().data(), bytes->data(), bytes->size());
    return result;
  }
  const OnnxTyped* typed = std::get_if<OnnxTyped>(&tensor.values);
  return decode_typed(tensor, typed ? typed->message : Bytes());
}

}  // namespace lathe::io
