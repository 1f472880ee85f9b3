#include "op/casting.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

double parse_number(const std::string& text) {
  const char* begin = text.data();
  const char* end = begin + text.size();
  while (begin < end && *begin == ' ') ++begin;
  while (begin < end && end[-1] == ' ') --end;
  if (begin < end && *begin == '+') ++begin;
  double value = 0;
  const auto [rest, error] = std::from_chars(begin, end, value);  // knows inf and nan in any case
  if (error == std::errc::result_out_of_range) {
    return *begin == '-' ? -HUGE_VAL : HUGE_VAL;
  }
  if (error != std::errc{} || rest != end)
    fail(ErrorCode::invalid_input, "Cast: \"{}\" is not a number", text);
  return value;
}

// The shortest text that reads back as the same float; whole numbers end in ".0", as NumPy prints them.
template <class T>
std::string float_text(T value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

Tensor to_strings(const Tensor& source) {
  std::vector<std::string> texts;
  const DType dtype = source.dtype();
  if (tensor::is_float(dtype)) {
    for (const double value : load<double>(source)) {
      texts.push_back(dtype == DType::f64 ? float_text(value) : float_text(float(value)));
    }
  } else if (dtype == DType::boolean) {
    for (const uint64_t value : load<uint64_t>(source)) texts.push_back(value ? "True" : "False");
  } else {
    with_compute_type(dtype, [&](auto zero) {
      if constexpr (!std::is_same_v<decltype(zero), double>) {
        for (const auto value : load<decltype(zero)>(source)) texts.push_back(std::to_string(value));
      }
    });
  }
  return Tensor::of_strings(source.dims(), std::move(texts));
}

Tensor from_strings(const Tensor& source, DType dtype, Overflow overflow) {
  std::vector<double> values;
  for (const std::string& text : source.strings()) values.push_back(parse_number(text));
  if (!is_small_float(dtype)) return store(dtype, source.dims(), values);
  Tensor real = store(DType::f64, source.dims(), values);
  return cast_elements(real, dtype, overflow == Overflow::saturate, "up");
}

Tensor to_small_float(const Tensor& source, DType dtype, Overflow overflow, PowerRounding rounding) {
  const std::vector<double> values = load<double>(source);
  Tensor result(dtype, source.dims());
  const int bits = tensor::bits(dtype);
  for (size_t i = 0; i < values.size(); ++i) {
    const unsigned code = encode_small_float(dtype, values[i], overflow, rounding);
    uint8_t& byte = result.data<uint8_t>()[i * size_t(bits) / 8];
    byte = uint8_t(byte | code << (bits == 4 && i % 2 == 1 ? 4 : 0));
  }
  return result;
}

}  // namespace

Tensor cast_elements(const Tensor& source, DType dtype, bool saturate, std::string_view round_mode) {
  if (source.dtype() == dtype) return source;
  if (dtype == DType::string) return to_strings(source);
  const Overflow overflow = saturate ? Overflow::saturate : Overflow::natural;
  if (source.dtype() == DType::string) return from_strings(source, dtype, overflow);
  if (is_small_float(dtype)) {
    const PowerRounding rounding = round_mode == "down"      ? PowerRounding::down
                                   : round_mode == "nearest" ? PowerRounding::nearest
                                                             : PowerRounding::up;
    return to_small_float(source, dtype, overflow, rounding);
  }
  return with_compute_type(
      source.dtype(), [&](auto zero) { return store(dtype, source.dims(), load<decltype(zero)>(source)); });
}

Tensor cast_elements(const Tensor& source, DType dtype, const Attributes& attributes) {
  return cast_elements(source, dtype, attributes.get_int("saturate", 1) != 0,
                       attributes.get_string("round_mode", "up"));
}

}  // namespace lathe::op
