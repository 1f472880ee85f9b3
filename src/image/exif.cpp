#include "image/exif.h"

#include <cstdint>

#include "base/error.h"

namespace lathe::image {
namespace {

using namespace std::literals;

constexpr uint16_t kExifFolder = 0x8769, kUserComment = 0x9286;  // tags
constexpr uint16_t kLong = 4, kUndefined = 7;                    // types
constexpr auto kUnicode = "UNICODE\0"sv, kAscii = "ASCII\0\0\0"sv, kNoCode = "\0\0\0\0\0\0\0\0"sv;
constexpr uint32_t kReplacement = 0xFFFD;

void put16(std::string& out, uint32_t value) {
  out += char(value >> 8 & 0xFF);
  out += char(value & 0xFF);
}
void put32(std::string& out, uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xFFFF);
}

// The character at the front of valid or invalid UTF-8, taken off; invalid_input for what is not UTF-8.
uint32_t take_character(std::string_view& text) {
  const auto byte = [&](size_t i) { return i < text.size() ? uint32_t(uint8_t(text[i])) : 0; };
  const uint32_t first = byte(0);
  const size_t length = first < 0x80 ? 1 : first >= 0xC2 && first < 0xE0 ? 2 : first >= 0xE0 && first < 0xF0 ? 3 : 4;
  constexpr uint32_t kLowest[] = {0, 0, 0x80, 0x800, 0x10000};
  uint32_t character = length == 1 ? first : first & (0xFFu >> (length + 1));
  bool good = first < 0x80 || (first >= 0xC2 && first < 0xF5);
  for (size_t i = 1; i < length; ++i) {
    good = good && (byte(i) & 0xC0) == 0x80;
    character = character << 6 | (byte(i) & 0x3F);
  }
  good = good && character >= kLowest[length] && character < 0x110000 && (character < 0xD800 || character > 0xDFFF);
  if (!good) fail(ErrorCode::invalid_input, "a picture's text is not UTF-8");
  text.remove_prefix(length);
  return character;
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += char(c);
  } else if (c < 0x800) {
    out += {char(0xC0 | c >> 6), char(0x80 | (c & 0x3F))};
  } else if (c < 0x10000) {
    out += {char(0xE0 | c >> 12), char(0x80 | (c >> 6 & 0x3F)), char(0x80 | (c & 0x3F))};
  } else {
    out += {char(0xF0 | c >> 18), char(0x80 | (c >> 12 & 0x3F)), char(0x80 | (c >> 6 & 0x3F)), char(0x80 | (c & 0x3F))};
  }
}

// Numbers of a TIFF in its byte order; nothing where they would lie outside.
class Tiff {
 public:
  explicit Tiff(std::span<const std::byte> bytes) : bytes_(bytes), big_(!bytes.empty() && bytes[0] == std::byte{'M'}) {}

  std::optional<uint32_t> number(uint64_t at, size_t size) const {
    if (at + size > bytes_.size()) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) value |= uint32_t(bytes_[at + i]) << 8 * (big_ ? size - 1 - i : i);
    return value;
  }
  // Where the value of a tag stands in the folder at `folder`, and how many there are.
  struct Value {
    uint64_t at;
    uint32_t count;
  };
  std::optional<Value> find(uint64_t folder, uint16_t tag) const {
    const uint32_t entries = number(folder, 2).value_or(0);
    for (uint32_t i = 0; i < entries; ++i) {
      const uint64_t entry = folder + 2 + 12 * uint64_t(i);
      if (number(entry, 2) != tag) continue;
      const auto count = number(entry + 4, 4), value = number(entry + 8, 4);
      if (!count || !value) return std::nullopt;
      return Value{tag == kUserComment && *count > 4 ? uint64_t(*value) : entry + 8, *count};
    }
    return std::nullopt;
  }
  std::string_view text(Value value) const {
    if (value.at + value.count > bytes_.size()) return {};
    return {reinterpret_cast<const char*>(bytes_.data()) + value.at, value.count};
  }
  bool big() const { return big_; }

 private:
  std::span<const std::byte> bytes_;
  bool big_;
};

std::string from_utf16(std::string_view text, bool big) {
  std::string out;
  const auto unit = [&](size_t at) {
    const auto a = uint32_t(uint8_t(text[at])), b = uint32_t(uint8_t(text[at + 1]));
    return big ? a << 8 | b : b << 8 | a;
  };
  for (size_t at = 0; at + 1 < text.size(); at += 2) {
    uint32_t c = unit(at);
    if (c >= 0xD800 && c < 0xDC00 && at + 3 < text.size() && unit(at + 2) >= 0xDC00 && unit(at + 2) < 0xE000) {
      c = 0x10000 + ((c - 0xD800) << 10) + (unit(at + 2) - 0xDC00);
      at += 2;
    } else if (c >= 0xD800 && c < 0xE000) {
      c = kReplacement;
    }
    if (c != 0) append_utf8(out, c);
  }
  return out;
}

// Bytes that should be ASCII or UTF-8.
std::string cleaned(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    try {
      append_utf8(out, take_character(text));
    } catch (const Error&) {
      append_utf8(out, kReplacement);
      text.remove_prefix(1);
    }
  }
  while (!out.empty() && out.back() == '\0') out.pop_back();
  return out;
}

}  // namespace

std::string make_exif(std::string_view comment) {
  std::string text(kUnicode);
  while (!comment.empty()) {
    const uint32_t c = take_character(comment);
    if (c >= 0x10000) {
      put16(text, 0xD800 + ((c - 0x10000) >> 10));
      put16(text, 0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      put16(text, c);
    }
  }
  // A folder is a count of entries, 12 bytes each, and the next folder's place: none.
  constexpr uint32_t kFirst = 8, kFolderBytes = 2 + 12 + 4, kSecond = kFirst + kFolderBytes;
  std::string exif = "MM\0*"s.substr(0, 4);
  put32(exif, kFirst);
  const auto folder = [&](uint16_t tag, uint16_t type, uint32_t count, uint32_t value) {
    put16(exif, 1);
    put16(exif, tag);
    put16(exif, type);
    put32(exif, count);
    put32(exif, value);
    put32(exif, 0);
  };
  folder(kExifFolder, kLong, 1, kSecond);
  folder(kUserComment, kUndefined, uint32_t(text.size()), kSecond + kFolderBytes);
  return exif + text;
}

std::optional<std::string> find_exif_comment(std::span<const std::byte> bytes) {
  const Tiff tiff(bytes);
  if (tiff.number(2, 2) != 42) return std::nullopt;
  const auto first = tiff.number(4, 4);
  const auto link = first ? tiff.find(*first, kExifFolder) : std::nullopt;
  const auto second = link ? tiff.number(link->at, 4) : std::nullopt;
  const auto value = second ? tiff.find(*second, kUserComment) : std::nullopt;
  if (!value) return std::nullopt;
  const std::string_view text = tiff.text(*value);
  if (text.size() < kUnicode.size()) return std::nullopt;
  const std::string_view code = text.substr(0, kUnicode.size()), rest = text.substr(kUnicode.size());
  if (code == kUnicode) return from_utf16(rest, tiff.big());
  if (code == kAscii || code == kNoCode) return cleaned(rest);
  return std::nullopt;
}

}  // namespace lathe::image
