// PBM, PGM and PPM, as text (P1 to P3) and binary (P4 to P6).
#include <cctype>

#include "image/formats.h"

namespace lathe::image {
namespace {

class Reader {
 public:
  explicit Reader(Bytes file) : file_(file) {}

  // The next number, after white space and comments.
  uint32_t number() {
    skip_space();
    uint32_t value = 0;
    const size_t start = at_;
    while (at_ < file_.size() && std::isdigit(peek())) {
      value = value * 10 + uint32_t(peek() - '0');
      if (value > 1u << 28) fail(ErrorCode::invalid_input, "PNM: a number of {} or more", value);
      ++at_;
    }
    if (at_ == start) fail(ErrorCode::invalid_input, "PNM: no number at byte {}", at_);
    return value;
  }
  // The next digit alone: bits of P1 need no space between them.
  uint32_t bit() {
    skip_space();
    if (at_ >= file_.size() || (peek() != '0' && peek() != '1'))
      fail(ErrorCode::invalid_input, "PNM: no bit at byte {}", at_);
    return uint32_t(file_[at_++]) - '0';
  }
  uint32_t byte() {
    if (at_ >= file_.size()) fail(ErrorCode::invalid_input, "PNM: ends at byte {}", at_);
    return uint32_t(file_[at_++]);
  }
  size_t left() const { return file_.size() - at_; }

 private:
  int peek() const { return int(file_[at_]); }
  void skip_space() {
    while (at_ < file_.size() && (std::isspace(peek()) || peek() == '#')) {
      if (peek() == '#') {
        while (at_ < file_.size() && peek() != '\n') ++at_;
      } else {
        ++at_;
      }
    }
  }

  Bytes file_;
  size_t at_ = 2;
};

}  // namespace

Image decode_pnm(Bytes file) {
  const int kind = int(file[1]) - '0';
  Reader reader(file);
  const uint32_t width = reader.number();
  const uint32_t height = reader.number();
  const bool bitmap = kind == 1 || kind == 4;
  const uint32_t largest = bitmap ? 1 : reader.number();
  if (largest < 1 || largest > 65535) fail(ErrorCode::invalid_input, "PNM: a largest value of {}", largest);
  if (kind >= 4) reader.byte();  // one white space before the pixels
  const int64_t channels = kind == 3 || kind == 6 ? 3 : 1;
  // Every pixel takes at least a bit, so a short file cannot ask for much.
  if (uint64_t(width) * height > uint64_t(reader.left()) * 8)
    fail(ErrorCode::invalid_input, "PNM: {} x {} pixels in {} bytes", width, height, reader.left());
  Image image = make_image(width, height, channels);
  uint32_t bits = 0;
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t i = 0; i < image.width * channels; ++i) {
      uint32_t value = 0;
      if (kind == 1) {
        value = 1 - reader.bit();  // 1 is black
      } else if (kind == 4) {
        if (i % 8 == 0) bits = reader.byte();
        value = 1 - (bits >> (7 - i % 8) & 1);
      } else if (kind < 4) {
        value = reader.number();
      } else {
        value = reader.byte();
        if (largest > 255) value = value << 8 | reader.byte();
      }
      if (value > largest) fail(ErrorCode::invalid_input, "PNM: {} is more than {}", value, largest);
      image.row(y)[i] = scale_to_byte(value, largest);
    }
  }
  return image;
}

}  // namespace lathe::image
