// Sixels, read back by the letter of the VT340's manual, are the picture in the palette.
#include "image/sixel.h"

#include <gtest/gtest.h>

#include <cctype>
#include <functional>
#include <map>

#include "base/error.h"

namespace lathe::image {
namespace {

// What a terminal shows of a picture: -1 where nothing was drawn, else red << 16 | green << 8 | blue in percent.
struct Screen {
  int64_t width = 0, height = 0;
  std::vector<int> pixels;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Screen run() {
    EXPECT_TRUE(text_.starts_with("\x1bP"));
    EXPECT_TRUE(text_.ends_with("\x1b\\"));
    at_ = text_.find('q') + 1;
    const size_t end = text_.size() - 2;
    while (at_ < end) take(text_[at_++]);
    return screen_;
  }

 private:
  std::vector<int> numbers() {
    std::vector<int> result;
    while (true) {
      int value = 0;
      while (std::isdigit(text_[at_])) value = 10 * value + (text_[at_++] - '0');
      result.push_back(value);
      if (text_[at_] != ';') return result;
      ++at_;
    }
  }
  void draw(char character, int count) {
    ASSERT_TRUE(character >= '?' && character <= '~') << int(character);
    for (; count > 0; --count, ++x_) {
      for (int64_t r = 0; r < 6; ++r) {
        if (!((character - '?') >> r & 1)) continue;
        ASSERT_TRUE(x_ < screen_.width && y_ + r < screen_.height);
        screen_.pixels[size_t((y_ + r) * screen_.width + x_)] = colour_;
      }
    }
  }
  void take(char character) {
    if (character == '"') {
      const auto raster = numbers();
      ASSERT_EQ(raster.size(), 4u);
      screen_.width = raster[2], screen_.height = raster[3];
      screen_.pixels.assign(size_t(screen_.width * screen_.height), -1);
    } else if (character == '#') {
      const auto colour = numbers();
      if (colour.size() == 5) {
        EXPECT_EQ(colour[1], 2);
        palette_[colour[0]] = colour[2] << 16 | colour[3] << 8 | colour[4];
      } else {
        ASSERT_TRUE(palette_.contains(colour[0]));
        colour_ = palette_[colour[0]];
      }
    } else if (character == '!') {
      const int count = numbers()[0];
      draw(text_[at_++], count);
    } else if (character == '$') {
      x_ = 0;
    } else if (character == '-') {
      x_ = 0, y_ += 6;
    } else {
      draw(character, 1);
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  Screen screen_;
  std::map<int, int> palette_;
  int64_t x_ = 0, y_ = 0;
  int colour_ = 0;
};

Image picture(int64_t width, int64_t height, const std::function<Colour(int64_t, int64_t)>& colour) {
  Image image{width, height, 3, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const Colour c = colour(x, y);
      image.pixels.insert(image.pixels.end(), c.begin(), c.end());
    }
  }
  return image;
}

// The largest difference of a channel, in percent.
int difference(const Image& image, const Screen& screen) {
  EXPECT_EQ(screen.width, image.width);
  EXPECT_EQ(screen.height, image.height);
  int largest = 0;
  for (size_t i = 0; i < screen.pixels.size(); ++i) {
    if (screen.pixels[i] < 0) return 1000;  // a hole
    for (int c = 0; c < 3; ++c) {
      const int shown = screen.pixels[i] >> (16 - 8 * c) & 255;
      largest = std::max(largest, std::abs(shown - (image.pixels[3 * i + size_t(c)] * 100 + 127) / 255));
    }
  }
  return largest;
}

TEST(Sixel, FewColoursAreExact) {
  for (const auto& [width, height] : {std::pair<int64_t, int64_t>{1, 1}, {7, 5}, {13, 6}, {200, 19}}) {
    const Image image = picture(width, height, [](int64_t x, int64_t y) {
      return (x / 3 + y) % 2 ? Colour{240, 10, 0} : x % 5 == 0 ? Colour{0, 0, 255} : Colour{17, 99, 200};
    });
    EXPECT_EQ(difference(image, Reader(encode_sixel(image)).run()), 0) << width << " x " << height;
  }
}

TEST(Sixel, ManyColoursAreNear) {
  const Image image = picture(96, 64, [](int64_t x, int64_t y) {
    return Colour{uint8_t(x * 255 / 95), uint8_t(y * 255 / 63), uint8_t((x + y) * 255 / 158)};
  });
  EXPECT_LE(difference(image, Reader(encode_sixel(image)).run()), 9);
  EXPECT_EQ(make_palette(image, 256).size(), 256u);
  EXPECT_EQ(make_palette(image, 3).size(), 3u);
}

TEST(Sixel, GreyAndRuns) {
  const Image grey{40, 8, 1, std::vector<uint8_t>(320, 128)};
  const std::string text = encode_sixel(grey);
  EXPECT_EQ(text, "\x1bP0;1;0q\"1;1;40;8#0;2;50;50;50#0!40~-#0!40B-\x1b\\");
}

TEST(Sixel, WhatNoTerminalShowsIsRefused) {
  EXPECT_THROW(encode_sixel(Image{5000, 1, 1, std::vector<uint8_t>(5000)}), Error);
}

}  // namespace
}  // namespace lathe::image
