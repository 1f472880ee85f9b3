#include "text/jinja_strings.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>

#include "text/utf8.h"

namespace lathe::text::jinja {
namespace {

// Python's str.isspace: White_Space and four separators of ASCII.
bool is_space(uint32_t c) {
  return is_whitespace(c) || (c >= 0x1C && c <= 0x1F);
}

void append_upper(std::string& out, uint32_t c) {
  // the commonest upper case of two letters; the other 100 of SpecialCasing.txt do not occur in templates
  if (c == 0xDF) {
    out += "SS";
  } else {
    append_utf8(out, uint32_t(utf8proc_toupper(utf8proc_int32_t(c))));
  }
}
void append_lower(std::string& out, uint32_t c) {
  append_utf8(out, uint32_t(utf8proc_tolower(utf8proc_int32_t(c))));
}

bool is_cased(uint32_t c) {
  return utf8proc_toupper(utf8proc_int32_t(c)) != utf8proc_int32_t(c) ||
         utf8proc_tolower(utf8proc_int32_t(c)) != utf8proc_int32_t(c);
}

// What strip takes away: these characters, or white space if there are none.
class CharacterSet {
 public:
  explicit CharacterSet(std::string_view characters) {
    for (size_t at = 0; at < characters.size();) sorted_.push_back(take_code_point(characters, at));
    std::sort(sorted_.begin(), sorted_.end());
  }
  bool has(uint32_t c) const {
    return sorted_.empty() ? is_space(c) : std::binary_search(sorted_.begin(), sorted_.end(), c);
  }

 private:
  std::vector<uint32_t> sorted_;
};

std::string reversed(std::string_view text) {
  return {text.rbegin(), text.rend()};
}

}  // namespace

std::string upper(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) append_upper(out, take_code_point(text, at));
  return out;
}

std::string lower(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) append_lower(out, take_code_point(text, at));
  return out;
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  std::string out;
  size_t at = 0;
  append_utf8(out, uint32_t(utf8proc_totitle(utf8proc_int32_t(take_code_point(text, at)))));
  return out + lower(text.substr(at));
}

std::string title(std::string_view text) {
  std::string out;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const uint32_t c = take_code_point(text, at);
    if (inside) {
      append_lower(out, c);
    } else {
      append_utf8(out, uint32_t(utf8proc_totitle(utf8proc_int32_t(c))));
    }
    inside = is_cased(c);
  }
  return out;
}

std::string_view strip(std::string_view text, std::string_view characters, Side side) {
  const CharacterSet set(characters);
  while (side != Side::right && !text.empty()) {
    size_t at = 0;
    if (!set.has(take_code_point(text, at))) break;
    text.remove_prefix(at);
  }
  while (side != Side::left && !text.empty()) {
    const size_t last = previous_character(text, text.size());
    size_t at = last;
    if (!set.has(take_code_point(text, at))) break;
    text = text.substr(0, last);
  }
  return text;
}

size_t find_in(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return text.npos;
  if (part.empty()) return from;
  const void* found = ::memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found ? size_t(static_cast<const char*>(found) - text.data()) : text.npos;
}

size_t rfind_in(std::string_view text, std::string_view part) {
  const size_t at = find_in(reversed(text), reversed(part));
  return at == text.npos ? at : text.size() - part.size() - at;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t count) {
  std::string out;
  size_t done = 0;
  if (from.empty()) {
    // before every character and at the end
    for (; count != 0 && done <= text.size(); --count) {
      out += to;
      if (done == text.size()) return out;
      const size_t begin = done;
      take_code_point(text, done);
      out += text.substr(begin, done - begin);
    }
    return out.append(text.substr(std::min(done, text.size())));
  }
  for (size_t at = find_in(text, from); at != text.npos && count != 0;
       at = find_in(text, from, done), --count) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  return out.append(text, done);
}

std::vector<std::string> split(std::string_view text, std::string_view separator, int64_t count,
                               bool from_right) {
  std::vector<std::string> parts;
  if (separator.empty()) {
    const Side side = from_right ? Side::right : Side::left;
    text = strip(text, "", side);
    for (; !text.empty(); --count) {
      size_t begin = from_right ? text.size() : 0, end = begin;
      // the next word from that side
      while (from_right ? begin > 0 : end < text.size()) {
        size_t at = from_right ? previous_character(text, begin) : end;
        const size_t start = at;
        const bool space = is_space(take_code_point(text, at));
        if (space) break;
        (from_right ? begin : end) = from_right ? start : at;
      }
      if (count == 0) {
        parts.emplace_back(text);  // the rest, its inner white space kept
        break;
      }
      parts.emplace_back(text.substr(begin, end - begin));
      text = strip(from_right ? text.substr(0, begin) : text.substr(end), "", side);
    }
  } else {
    // From the right: as from the left, with everything turned round.
    const std::string turned = from_right ? reversed(text) : "", turned_separator = reversed(separator);
    if (from_right) text = turned, separator = turned_separator;
    while (count-- != 0) {
      const size_t at = find_in(text, separator);
      if (at == text.npos) break;
      parts.emplace_back(text.substr(0, at));
      text = text.substr(at + separator.size());
    }
    parts.emplace_back(text);
    if (from_right) {
      for (std::string& part : parts) std::reverse(part.begin(), part.end());
    }
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  const auto ends_line = [](uint32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
  };
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const uint32_t c = take_code_point(text, at);
    if (!ends_line(c)) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(begin, (keep_ends ? at : start) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace lathe::text::jinja
