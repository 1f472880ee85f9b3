// Texts split at a delimiter, or without one at stretches of white space; the last dimension holds the pieces, filled
// up with empty ones, the second output how many each text gave.
#include <algorithm>
#include <array>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using Pieces = std::vector<std::string>;

// Unicode's White_Space in UTF-8.
constexpr std::array<std::string_view, 25> kSpaces = {" ",
                                                      "\t",
                                                      "\n",
                                                      "\v",
                                                      "\f",
                                                      "\r",
                                                      "\xC2\x85",
                                                      "\xC2\xA0",
                                                      "\xE1\x9A\x80",
                                                      "\xE2\x80\x80",
                                                      "\xE2\x80\x81",
                                                      "\xE2\x80\x82",
                                                      "\xE2\x80\x83",
                                                      "\xE2\x80\x84",
                                                      "\xE2\x80\x85",
                                                      "\xE2\x80\x86",
                                                      "\xE2\x80\x87",
                                                      "\xE2\x80\x88",
                                                      "\xE2\x80\x89",
                                                      "\xE2\x80\x8A",
                                                      "\xE2\x80\xA8",
                                                      "\xE2\x80\xA9",
                                                      "\xE2\x80\xAF",
                                                      "\xE2\x81\x9F",
                                                      "\xE3\x80\x80"};

// Bytes of the white space that `text` begins with, 0 if there is none.
size_t space_at(std::string_view text) {
  for (const std::string_view space : kSpaces) {
    if (text.starts_with(space)) return space.size();
  }
  return 0;
}

void skip_spaces(std::string_view& text) {
  while (const size_t length = space_at(text)) text.remove_prefix(length);
}

void drop_last_spaces(std::string_view& text) {
  const auto ends_with_space = [&](std::string_view space) { return text.ends_with(space); };
  for (auto it = kSpaces.begin(); it != kSpaces.end();) {
    it = std::find_if(kSpaces.begin(), kSpaces.end(), ends_with_space);
    if (it != kSpaces.end()) text.remove_suffix(it->size());
  }
}

// At most `most` splits; what remains after them, without the spaces around it, is the last piece.
Pieces split_at_spaces(std::string_view text, size_t most) {
  Pieces pieces;
  skip_spaces(text);
  drop_last_spaces(text);
  while (!text.empty() && pieces.size() < most) {
    size_t end = 0;
    while (end < text.size() && !space_at(text.substr(end))) ++end;
    pieces.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
    skip_spaces(text);
  }
  if (!text.empty()) pieces.emplace_back(text);
  return pieces;
}

Pieces split_at(std::string_view text, std::string_view delimiter, size_t most) {
  Pieces pieces;
  while (pieces.size() < most) {
    const size_t end = text.find(delimiter);
    if (end == std::string_view::npos) break;
    pieces.emplace_back(text.substr(0, end));
    text.remove_prefix(end + delimiter.size());
  }
  pieces.emplace_back(text);
  return pieces;
}

void infer_string_split(InferContext& context) {
  const TypeInfo& x = require(context, 0, kString);
  if (context.attributes.get_int("maxsplit", 0) < 0) bad(context, "maxsplit must not be negative");
  tensor::Shape shape = x.shape;
  shape.push_back(unknown_dim(context, 0));
  context.outputs[0] = {DType::string, std::move(shape), std::nullopt};
  if (context.outputs.size() > 1) context.outputs[1] = {DType::i64, x.shape, std::nullopt};
}

void evaluate_string_split(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const std::string delimiter = context.attributes.get_string("delimiter", "");
  const size_t most = size_t(context.attributes.get_int("maxsplit", INT64_MAX));
  std::vector<Pieces> split;
  std::vector<int64_t> counts;
  for (const std::string& text : x.strings()) {
    split.push_back(delimiter.empty() ? split_at_spaces(text, most) : split_at(text, delimiter, most));
    counts.push_back(int64_t(split.back().size()));
  }
  const int64_t width = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  tensor::Dims dims = x.dims();
  dims.push_back(width);
  tensor::Tensor result(DType::string, std::move(dims));
  for (size_t i = 0; i < split.size(); ++i) {
    for (size_t j = 0; j < split[i].size(); ++j) result.strings()[i * size_t(width) + j] = std::move(split[i][j]);
  }
  context.outputs[0] = std::move(result);
  if (context.outputs.size() > 1) context.outputs[1] = store(DType::i64, x.dims(), counts);
}

}  // namespace

const OpDef& string_split_op() {
  static const OpDef def{
      .name = "StringSplit",
      .min_inputs = 1,
      .max_inputs = 1,
      .min_outputs = 1,
      .max_outputs = 2,
      .attributes = {{"delimiter", AttributeKind::string}, {"maxsplit", AttributeKind::integer}},
      .since = 20,
      .infer = infer_string_split,
      .evaluate = evaluate_string_split,
  };
  return def;
}

}  // namespace lathe::op
