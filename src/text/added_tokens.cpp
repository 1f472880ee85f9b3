#include "text/added_tokens.h"

#include <algorithm>

#include "base/checked.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

bool ends_with_word(std::string_view text) {
  if (text.empty()) return false;
  size_t at = previous_character(text, text.size());
  return is_word(take_code_point(text, at));
}

bool starts_with_word(std::string_view text) {
  size_t at = 0;
  return !text.empty() && is_word(take_code_point(text, at));
}

// Where the white space at the end of `text` begins.
size_t trailing_space(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    const size_t start = previous_character(text, begin);
    size_t at = start;
    if (!is_whitespace(take_code_point(text, at))) break;
    begin = start;
  }
  return begin;
}

// Where the white space at the start of `text` ends.
size_t leading_space(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size(); end = at) {
    if (!is_whitespace(take_code_point(text, at))) break;
  }
  return end;
}

}  // namespace

AddedToken added_token_from_json(const Json& config) {
  AddedToken token;
  token.id = checked_cast<int32_t>(get_int(config, "id"), "id of an added token");
  token.content = get_string(config, "content");
  token.special = find_bool(config, "special").value_or(false);
  token.single_word = find_bool(config, "single_word").value_or(false);
  token.lstrip = find_bool(config, "lstrip").value_or(false);
  token.rstrip = find_bool(config, "rstrip").value_or(false);
  token.normalized = find_bool(config, "normalized").value_or(!token.special);
  return token;
}

Json to_json(const AddedToken& token) {
  return {{"id", token.id},          {"content", token.content}, {"single_word", token.single_word},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip},   {"normalized", token.normalized},
          {"special", token.special}};
}

AddedTokenFinder::AddedTokenFinder() : nodes_(1) {}

void AddedTokenFinder::add(const AddedToken& token, std::string_view content) {
  if (content.empty()) return;
  uint32_t node = 0;
  for (const char c : content) {
    const uint8_t byte = uint8_t(c);
    const auto& children = nodes_[node].children;
    const auto child =
        std::find_if(children.begin(), children.end(), [&](const auto& edge) { return edge.first == byte; });
    if (child != children.end()) {
      node = child->second;
      continue;
    }
    const uint32_t created = uint32_t(nodes_.size());
    nodes_[node].children.emplace_back(byte, created);
    if (node == 0) first_[byte] = created;
    nodes_.emplace_back();
    node = created;
  }
  if (nodes_[node].token < 0) nodes_[node].token = int32_t(tokens_.size());  // the first of equals counts
  tokens_.push_back(&token);
}

void AddedTokenFinder::split(std::string_view text, std::vector<Part>& parts) const {
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    uint32_t node = first_[uint8_t(text[at])];
    if (node == 0) {
      ++at;
      continue;
    }
    int32_t found = -1;
    size_t found_end = 0;
    for (size_t end = at + 1;; ++end) {
      if (nodes_[node].token >= 0) {
        found = nodes_[node].token;
        found_end = end;
      }
      if (end == text.size()) break;
      const auto& children = nodes_[node].children;
      const auto child = std::find_if(children.begin(), children.end(),
                                      [&](const auto& edge) { return edge.first == uint8_t(text[end]); });
      if (child == children.end()) break;
      node = child->second;
    }
    if (found < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = *tokens_[size_t(found)];
    size_t begin = at, end = found_end;
    at = found_end;  // a match that is refused is passed over all the same
    if (token.single_word && (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end))))
      continue;
    if (token.lstrip) begin = std::max(trailing_space(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_space(text.substr(end));
    if (done < begin) parts.push_back({done, begin, -1});
    parts.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), -1});
}

}  // namespace lathe::text
