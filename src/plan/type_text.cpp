#include "plan/type_text.h"

#include "base/error.h"

namespace lathe::plan {
namespace {

using op::TypeInfo;

constexpr size_t kMaxRank = 64;

[[noreturn]] void bad(std::string_view text) {
  fail(ErrorCode::invalid_input, "\"{}\" is no type", text);
}

tensor::DType element_of(std::string_view text, std::string_view whole) {
  if (text == "?") return tensor::DType::undefined;
  const auto dtype = tensor::find_dtype(text);
  if (!dtype || *dtype == tensor::DType::undefined) bad(whole);
  return *dtype;
}

// What stands in the brackets of "word(...)"; nullopt where it is not that word.
std::optional<std::string_view> inside(std::string_view text, std::string_view word) {
  if (!text.starts_with(word) || text.size() < word.size() + 2) return std::nullopt;
  if (text[word.size()] != '(' || text.back() != ')') return std::nullopt;
  return text.substr(word.size() + 1, text.size() - word.size() - 2);
}

tensor::Shape shape_of(std::string_view text, std::string_view whole) {
  tensor::Shape shape;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view dim = text.substr(0, comma);
    while (dim.starts_with(' ')) dim.remove_prefix(1);
    shape.push_back(tensor::Dim::parse(dim));
    const auto number = shape.back().constant();
    if ((number && *number < 0) || shape.size() > kMaxRank || comma + 1 == text.size()) bad(whole);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return shape;
}

}  // namespace

TypeInfo parse_type(std::string_view text) {
  if (text == "?") return TypeInfo::unranked(tensor::DType::undefined);
  if (const auto item = inside(text, "sequence")) return TypeInfo::sequence(element_of(*item, text));
  if (const auto item = inside(text, "optional")) {
    const auto of_sequence = inside(*item, "sequence");
    TypeInfo type = TypeInfo::sequence(element_of(of_sequence.value_or(*item), text));
    type.form = of_sequence ? op::Form::optional_sequence : op::Form::optional_tensor;
    return type;
  }
  const size_t bracket = text.find('[');
  if (bracket == std::string_view::npos || text.back() != ']') bad(text);
  const tensor::DType dtype = element_of(text.substr(0, bracket), text);
  const std::string_view dims = text.substr(bracket + 1, text.size() - bracket - 2);
  if (dtype == tensor::DType::undefined) bad(text);
  if (dims == "...") return TypeInfo::unranked(dtype);
  return {dtype, shape_of(dims, text), std::nullopt};
}

}  // namespace lathe::plan
