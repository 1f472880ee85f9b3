#include "image/sixel.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"

namespace lathe::image {
namespace {

constexpr size_t kMostColours = 256;
constexpr int64_t kLargestSide = 4096;
constexpr int64_t kBandHeight = 6;  // rows that one character holds a column of
constexpr int kShift = 3;           // colours are told apart by their five upper bits

struct Counted {
  Colour colour;
  int64_t pixels;
};

// Colours of the picture, those that share their upper bits as one: their mean.
std::vector<Counted> count_colours(const Image& rgb) {
  struct Sum {
    int64_t red = 0, green = 0, blue = 0, pixels = 0;
  };
  std::map<uint32_t, Sum> sums;
  for (size_t i = 0; i + 2 < rgb.pixels.size(); i += 3) {
    const uint32_t red = rgb.pixels[i], green = rgb.pixels[i + 1], blue = rgb.pixels[i + 2];
    Sum& sum = sums[(red >> kShift) << 10 | (green >> kShift) << 5 | blue >> kShift];
    sum.red += red;
    sum.green += green;
    sum.blue += blue;
    ++sum.pixels;
  }
  std::vector<Counted> colours;
  for (const auto& [key, sum] : sums) {
    const auto mean = [&](int64_t total) { return uint8_t((total + sum.pixels / 2) / sum.pixels); };
    colours.push_back({{mean(sum.red), mean(sum.green), mean(sum.blue)}, sum.pixels});
  }
  return colours;
}

// A part of the colours.
struct Box {
  size_t begin, end;
  size_t axis = 0;
  int length = 0;  // along it
  int64_t pixels = 0;
};

Box measure(const std::vector<Counted>& colours, size_t begin, size_t end) {
  Box box{begin, end};
  for (size_t i = begin; i < end; ++i) box.pixels += colours[i].pixels;
  for (size_t axis = 0; axis < 3; ++axis) {
    const auto [low, high] =
        std::minmax_element(colours.begin() + std::ptrdiff_t(begin), colours.begin() + std::ptrdiff_t(end),
                            [&](const Counted& a, const Counted& b) { return a.colour[axis] < b.colour[axis]; });
    const int length = int(high->colour[axis]) - int(low->colour[axis]);
    if (length > box.length) box.axis = axis, box.length = length;
  }
  return box;
}

// Where half of the pixels are on each side, at least one colour on each.
size_t middle_of(std::vector<Counted>& colours, const Box& box) {
  std::sort(colours.begin() + std::ptrdiff_t(box.begin), colours.begin() + std::ptrdiff_t(box.end),
            [&](const Counted& a, const Counted& b) { return a.colour[box.axis] < b.colour[box.axis]; });
  int64_t pixels = 0;
  size_t at = box.begin;
  while (at + 1 < box.end && 2 * pixels < box.pixels) pixels += colours[at++].pixels;
  return std::max(at, box.begin + 1);
}

Colour mean_of(const std::vector<Counted>& colours, const Box& box) {
  std::array<int64_t, 3> sums{};
  for (size_t i = box.begin; i < box.end; ++i) {
    for (size_t c = 0; c < 3; ++c) sums[c] += colours[i].colour[c] * colours[i].pixels;
  }
  Colour mean;
  for (size_t c = 0; c < 3; ++c) mean[c] = uint8_t((sums[c] + box.pixels / 2) / box.pixels);
  return mean;
}

// The nearest colour of the palette for each colour that has been asked for.
class Nearest {
 public:
  explicit Nearest(const std::vector<Colour>& palette) : palette_(palette), known_(size_t{1} << 15, -1) {}

  size_t operator()(const uint8_t* pixel) {
    int& known = known_[size_t(pixel[0] >> kShift) << 10 | size_t(pixel[1] >> kShift) << 5 | pixel[2] >> kShift];
    if (known < 0) known = find(pixel);
    return size_t(known);
  }

 private:
  int find(const uint8_t* pixel) const {
    int best = 0, least = 1 << 30;
    for (size_t i = 0; i < palette_.size(); ++i) {
      int distance = 0;
      for (size_t c = 0; c < 3; ++c) {
        const int difference = int(pixel[c]) - int(palette_[i][c]);
        distance += difference * difference;
      }
      if (distance < least) best = int(i), least = distance;
    }
    return best;
  }

  const std::vector<Colour>& palette_;
  std::vector<int> known_;
};

// Characters that come several times in a row are counted: "!12~".
void add_run(std::string& out, char character, int64_t count) {
  constexpr int64_t kShortest = 4;
  if (count < kShortest) {
    out.append(size_t(count), character);
  } else {
    out += fmt::format("!{}{}", count, character);
  }
}

// One colour's pixels in a band of six rows; bit r of a column: row r.
void add_colour(std::string& out, size_t colour, std::span<const uint8_t> columns) {
  out += fmt::format("#{}", colour);
  for (size_t x = 0; x < columns.size();) {
    size_t end = x + 1;
    while (end < columns.size() && columns[end] == columns[x]) ++end;
    if (end < columns.size() || columns[x] != 0) add_run(out, char('?' + columns[x]), int64_t(end - x));
    x = end;
  }
}

}  // namespace

std::vector<Colour> make_palette(const Image& rgb, size_t colours) {
  std::vector<Counted> counted = count_colours(rgb);
  std::vector<Box> boxes;
  if (!counted.empty()) boxes.push_back(measure(counted, 0, counted.size()));
  while (boxes.size() < std::min(colours, kMostColours)) {
    const auto widest = std::max_element(boxes.begin(), boxes.end(), [](const Box& a, const Box& b) {
      return a.length * a.pixels < b.length * b.pixels;
    });
    if (widest == boxes.end() || widest->length == 0) break;
    const size_t begin = widest->begin, end = widest->end, middle = middle_of(counted, *widest);
    *widest = measure(counted, begin, middle);
    boxes.push_back(measure(counted, middle, end));
  }
  std::vector<Colour> palette;
  for (const Box& box : boxes) palette.push_back(mean_of(counted, box));
  return palette;
}

std::string encode_sixel(const Image& image) {
  if (image.width > kLargestSide || image.height > kLargestSide) {
    fail(ErrorCode::usage, "sixels of {} x {} pixels; at most {} a side", image.width, image.height, kLargestSide);
  }
  const Image rgb = to_rgb(image);
  const std::vector<Colour> palette = make_palette(rgb, kMostColours);
  Nearest nearest(palette);
  // Pixels that no colour sets keep the background; aspect 1:1.
  std::string out = fmt::format("\x1bP0;1;0q\"1;1;{};{}", rgb.width, rgb.height);
  for (size_t i = 0; i < palette.size(); ++i) {
    const auto percent = [](uint8_t value) { return (value * 100 + 127) / 255; };
    out += fmt::format("#{};2;{};{};{}", i, percent(palette[i][0]), percent(palette[i][1]), percent(palette[i][2]));
  }
  for (int64_t top = 0; top < rgb.height; top += kBandHeight) {
    std::map<size_t, std::vector<uint8_t>> columns;  // by colour
    for (int64_t y = top; y < std::min(top + kBandHeight, rgb.height); ++y) {
      for (int64_t x = 0; x < rgb.width; ++x) {
        auto& column = columns[nearest(rgb.row(y) + 3 * x)];
        if (column.empty()) column.resize(size_t(rgb.width));
        column[size_t(x)] |= uint8_t(1 << (y - top));
      }
    }
    bool first = true;
    for (const auto& [colour, bits] : columns) {
      if (!first) out += '$';  // back to the left
      first = false;
      add_colour(out, colour, bits);
    }
    out += '-';  // down by six
  }
  return out + "\x1b\\";
}

}  // namespace lathe::image
