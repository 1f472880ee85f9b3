// Texts without stop words, in upper or lower case; one empty text where none is left.
#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "op/attribute_lists.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

// Every character by `change`, Unicode's simple mapping of its case.
std::string change_case(const std::string& text, utf8proc_int32_t (*change)(utf8proc_int32_t)) {
  std::string result;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t c = 0;
    const auto length = utf8proc_iterate(bytes + at, utf8proc_ssize_t(text.size() - at), &c);
    if (length <= 0) fail(ErrorCode::invalid_input, "StringNormalizer: text is not UTF-8 at byte {}", at);
    at += size_t(length);
    std::array<utf8proc_uint8_t, 4> encoded{};
    const auto written = utf8proc_encode_char(change(c), encoded.data());
    result.append(reinterpret_cast<const char*>(encoded.data()), size_t(written));
  }
  return result;
}

void infer_string_normalizer(InferContext& context) {
  const TypeInfo& x = require(context, 0, kString);
  const size_t rank = x.shape.size();
  if (rank != 1 && rank != 2) bad(context, "expected [C] or [1, C], found {}", to_string(x));
  if (rank == 2) require_dims_agree(context, "first dimension", tensor::Dim(1), x.shape[0]);
  const std::string action = context.attributes.get_string("case_change_action", "NONE");
  if (action != "NONE" && action != "LOWER" && action != "UPPER") {
    bad(context, "case_change_action: expected NONE, LOWER or UPPER, found \"{}\"", action);
  }
  // The languages whose letters change case in a way of their own.
  const std::string locale = context.attributes.get_string("locale", "");
  for (const std::string_view language : {"tr", "az", "lt"}) {
    const bool plain = action == "NONE" && context.attributes.get_int("is_case_sensitive", 0) != 0;
    if (!plain && locale.starts_with(language) && (locale.size() == 2 || locale[2] == '_' || locale[2] == '-')) {
      fail(ErrorCode::unsupported, "StringNormalizer: case as in locale \"{}\"", locale);
    }
  }
  tensor::Shape shape = x.shape;
  if (context.attributes.has("stopwords") || !shape.back().is_constant() || shape.back() == tensor::Dim(0)) {
    shape.back() = unknown_dim(context, 0);
  }
  context.outputs[0] = {DType::string, std::move(shape), std::nullopt};
}

void evaluate_string_normalizer(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const bool sensitive = context.attributes.get_int("is_case_sensitive", 0) != 0;
  const std::string action = context.attributes.get_string("case_change_action", "NONE");
  std::vector<std::string> stop_words = get_list<std::string>(context.attributes, "stopwords");
  const auto key = [&](const std::string& text) { return sensitive ? text : change_case(text, utf8proc_tolower); };
  for (std::string& word : stop_words) word = key(word);
  std::sort(stop_words.begin(), stop_words.end());
  std::vector<std::string> kept;
  for (const std::string& text : x.strings()) {
    if (!stop_words.empty() && std::binary_search(stop_words.begin(), stop_words.end(), key(text))) continue;
    kept.push_back(action == "LOWER"   ? change_case(text, utf8proc_tolower)
                   : action == "UPPER" ? change_case(text, utf8proc_toupper)
                                       : text);
  }
  if (kept.empty()) kept.emplace_back();
  tensor::Dims dims = x.dims();
  dims.back() = int64_t(kept.size());
  context.outputs[0] = tensor::Tensor::of_strings(std::move(dims), std::move(kept));
}

}  // namespace

const OpDef& string_normalizer_op() {
  static const OpDef def{
      .name = "StringNormalizer",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"case_change_action", AttributeKind::string},
                     {"is_case_sensitive", AttributeKind::integer},
                     {"locale", AttributeKind::string},
                     {"stopwords", AttributeKind::strings}},
      .infer = infer_string_normalizer,
      .evaluate = evaluate_string_normalizer,
  };
  return def;
}

}  // namespace lathe::op
