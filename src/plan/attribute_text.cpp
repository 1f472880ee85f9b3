#include "plan/attribute_text.h"

#include "base/error.h"
#include "base/hash.h"

namespace lathe::plan {

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      result += fmt::format("\\x{:02x}", int(c));
    } else {
      result += c;
    }
  }
  return result + '"';
}

namespace {

std::string spelled(int64_t value) {
  return fmt::format("{}", value);
}
std::string spelled(double value) {
  // Shortest text that reads back the same, told from an integer.
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".enf") == std::string::npos ? text + ".0" : text;
}
std::string spelled(const std::string& value) {
  return plan::quoted(value);
}
std::string spelled(const tensor::Tensor& value) {
  const std::string type =
      fmt::format("tensor {}{}", tensor::to_string(value.dtype()), tensor::to_string(std::span(value.dims())));
  if (value.dtype() == tensor::DType::string) return fmt::format("{} {}", type, fmt::join(value.strings(), "|"));
  return fmt::format("{} {}", type, xxh3_128_hex(value.bytes()));
}
std::string spelled(const op::SubgraphPtr&) {
  return "graph";
}
template <class T>
std::string spelled(const std::vector<T>& values) {
  std::vector<std::string> texts;
  for (const T& value : values) texts.push_back(spelled(value));
  return fmt::format("[{}]", fmt::join(texts, ", "));
}

}  // namespace

std::string attribute_text(const op::AttributeValue& value) {
  return std::visit([](const auto& v) { return spelled(v); }, value);
}

}  // namespace lathe::plan
