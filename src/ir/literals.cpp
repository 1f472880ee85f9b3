#include "ir/literals.h"

#include <charconv>
#include <cmath>

#include "base/checked.h"
#include "base/error.h"

namespace lathe::ir {
namespace {

using tensor::DType;

std::string spelled_f32(float value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string spelled_element(const tensor::Tensor& tensor, int64_t index) {
  const size_t i = size_t(index);
  switch (tensor.dtype()) {
    case DType::boolean:
      return tensor.data<bool>()[i] ? "true" : "false";
    case DType::i64:
      return fmt::format("{}", tensor.data<int64_t>()[i]);  // a double would round these two
    case DType::u64:
      return fmt::format("{}", tensor.data<uint64_t>()[i]);
    case DType::f64:
      return spelled_real(tensor.data<double>()[i]);
    case DType::string:
      return spelled_string(tensor.strings()[i]);
    default:
      break;
  }
  const double value = element_as_double(tensor, index);
  // f16 and bf16 values are exact in f32, and the shortest f32 text leads back to them.
  return is_float(tensor.dtype()) ? spelled_f32(float(value)) : fmt::format("{}", int64_t(value));
}

template <class T, class Spell>
std::string spelled_list(std::string_view kind, const std::vector<T>& values, Spell spell) {
  if (values.empty()) return fmt::format("{} []", kind);  // nothing inside would tell the kind
  std::string text = "[";
  for (const T& value : values) text += fmt::format("{}{}", text.size() > 1 ? ", " : "", spell(value));
  return text + "]";
}

template <class T>
T parse_number(std::string_view token, std::string_view expected) {
  T value{};
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
  if (error != std::errc{} || end != token.data() + token.size()) {
    fail(ErrorCode::invalid_input, "expected {}, found \"{}\"", expected, token);
  }
  return value;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  fail(ErrorCode::invalid_input, "expected a hexadecimal digit, found '{}'", c);
}

}  // namespace

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '/' || c == '-';
}

std::string spelled_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (byte < 0x20 || byte == 0x7f)
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
  return out + '"';
}

std::string spelled_name(std::string_view name) {
  for (const char c : name) {
    if (!is_name_char(c)) return spelled_string(name);
  }
  return name.empty() ? spelled_string(name) : std::string(name);
}

std::string spelled_real(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

bool has_literals(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::f32:
    case DType::f16:
    case DType::bf16:
    case DType::boolean:
    case DType::string:
      return true;
    default:
      return is_integer(dtype) && bits(dtype) >= 8;
  }
}

std::string spelled_elements(const tensor::Tensor& tensor) {
  std::string text;
  if (!has_literals(tensor.dtype())) {
    for (const std::byte byte : tensor.bytes()) text += fmt::format("{:02x}", unsigned(byte));
    return fmt::format("hex {}", text.empty() ? "\"\"" : text);
  }
  for (int64_t i = 0; i < tensor.size(); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", spelled_element(tensor, i));
  }
  return fmt::format("{{{}}}", text);
}

std::string spelled_attribute(const op::AttributeValue& value) {
  struct Spell {
    std::string operator()(int64_t v) const { return fmt::format("{}", v); }
    std::string operator()(double v) const { return spelled_real(v); }
    std::string operator()(const std::string& v) const { return spelled_string(v); }
    std::string operator()(const std::vector<int64_t>& v) const { return spelled_list("ints", v, *this); }
    std::string operator()(const std::vector<double>& v) const { return spelled_list("floats", v, *this); }
    std::string operator()(const std::vector<std::string>& v) const {
      return spelled_list("strings", v, *this);
    }
    std::string operator()(const tensor::Tensor& v) const {
      return fmt::format("tensor {}{} {}", to_string(v.dtype()), tensor::to_string(std::span(v.dims())),
                         spelled_elements(v));
    }
    std::string operator()(const op::SubgraphPtr&) const { LATHE_CHECK(false, "a graph is no literal"); }
  };
  return std::visit(Spell{}, value);
}

void parse_element(tensor::Tensor& tensor, int64_t index, std::string_view token) {
  const DType dtype = tensor.dtype();
  const size_t i = size_t(index);
  if (dtype == DType::boolean) {
    if (token != "true" && token != "false") {
      fail(ErrorCode::invalid_input, "expected true or false, found \"{}\"", token);
    }
    tensor.data<bool>()[i] = token == "true";
  } else if (dtype == DType::u64) {
    tensor.data<uint64_t>()[i] = parse_number<uint64_t>(token, "u64");
  } else if (dtype == DType::i64) {
    tensor.data<int64_t>()[i] = parse_number<int64_t>(token, "i64");
  } else if (dtype == DType::f64) {
    tensor.data<double>()[i] = parse_number<double>(token, "f64");
  } else if (is_integer(dtype)) {
    const int64_t value = parse_number<int64_t>(token, to_string(dtype));
    set_element(tensor, index, double(value));
    if (element_as_double(tensor, index) != double(value)) {
      fail(ErrorCode::invalid_input, "{} is out of range for {}", value, to_string(dtype));
    }
  } else {
    set_element(tensor, index, double(parse_number<float>(token, to_string(dtype))));
  }
}

void parse_hex(tensor::Tensor& tensor, std::string_view digits) {
  const auto bytes = tensor.mutable_bytes();
  if (digits.size() != 2 * bytes.size()) {
    fail(ErrorCode::invalid_input, "expected {} hexadecimal digits, found {}", 2 * bytes.size(),
         digits.size());
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = std::byte(hex_digit(digits[2 * i]) * 16 + hex_digit(digits[2 * i + 1]));
  }
}

}  // namespace lathe::ir
