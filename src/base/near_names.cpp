#include "base/near_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>

namespace lathe {
namespace {

constexpr size_t kLongestCompared = 200;  // letters: the comparison takes their product

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return result;
}

// Letters to insert, drop or replace to make one of the other.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

// How far away a name is; nullopt: too far to be meant.
std::optional<size_t> distance(const std::string& wanted, const std::string& name) {
  if (wanted.empty() || name.empty()) return std::nullopt;
  if (name.find(wanted) != std::string::npos) return name.size() - wanted.size();
  if (wanted.find(name) != std::string::npos && name.size() >= 3) return wanted.size() - name.size();
  if (wanted.size() > kLongestCompared || name.size() > kLongestCompared) return std::nullopt;
  const size_t edits = edit_distance(wanted, name);
  return edits <= wanted.size() / 3 + 1 ? std::optional(edits) : std::nullopt;
}

}  // namespace

std::vector<std::string> near_names(std::string_view wanted, std::span<const std::string> names, size_t most) {
  std::vector<std::pair<size_t, std::string>> found;
  const std::string text = lower(wanted);
  for (const std::string& name : names) {
    if (const auto away = distance(text, lower(name))) found.emplace_back(*away, name);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  std::vector<std::string> result;
  for (auto& [away, name] : found) {
    if (result.size() < most) result.push_back(std::move(name));
  }
  return result;
}

std::string near_text(std::string_view wanted, std::span<const std::string> names) {
  const auto near = near_names(wanted, names);
  return near.empty() ? "" : fmt::format("; near are {}", fmt::join(near, ", "));
}

}  // namespace lathe
