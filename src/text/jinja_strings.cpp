#include "text/jinja_strings.h"

#include <utf8proc.h>

#include <algorithm>

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

bool in_set(std::string_view characters, uint32_t c) {
  if (characters.empty()) return is_space(c);
  for (size_t at = 0; at < characters.size();) {
    if (take_code_point(characters, at) == c) return true;
  }
  return false;
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
  while (side != Side::right && !text.empty()) {
    size_t at = 0;
    if (!in_set(characters, take_code_point(text, at))) break;
    text.remove_prefix(at);
  }
  while (side != Side::left && !text.empty()) {
    const size_t last = previous_character(text, text.size());
    size_t at = last;
    if (!in_set(characters, take_code_point(text, at))) break;
    text = text.substr(0, last);
  }
  return text;
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
  for (size_t at = text.find(from); at != text.npos && count != 0; at = text.find(from, done), --count) {
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
    while (count-- != 0) {
      const size_t at = from_right ? text.rfind(separator) : text.find(separator);
      if (at == text.npos) break;
      parts.emplace_back(from_right ? text.substr(at + separator.size()) : text.substr(0, at));
      text = from_right ? text.substr(0, at) : text.substr(at + separator.size());
    }
    parts.emplace_back(text);
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
