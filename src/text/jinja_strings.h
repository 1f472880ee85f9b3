// Python's string methods, for templates.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::text::jinja {

enum class Side { both, left, right };

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
// str.title(): every run of cased characters begins in upper case.
std::string title(std::string_view text);
// Without the `characters` (white space if empty) at the ends.
std::string_view strip(std::string_view text, std::string_view characters, Side side);
// Where `part` begins first or last in `text`, npos if nowhere; in time linear in both, which std::string's
// own search does not promise.
size_t find_in(std::string_view text, std::string_view part, size_t from = 0);
size_t rfind_in(std::string_view text, std::string_view part);
// At most `count` replacements if it is not negative.
std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t count);
// At most `count` cuts if it is not negative. An empty separator cuts at runs of white space.
std::vector<std::string> split(std::string_view text, std::string_view separator, int64_t count,
                               bool from_right);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);
// & < > ' " as HTML entities.
std::string escape_html(std::string_view text);

}  // namespace lathe::text::jinja
