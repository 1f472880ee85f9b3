// What is written is read back; sizes change as in Pillow, floats become bytes as in diffusers.
#include "image/encode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/json.h"
#include "image/picture_text.h"
#include "image/resize.h"

namespace lathe::image {
namespace {

Image picture(int64_t width, int64_t height, int64_t channels) {
  Image image{width, height, channels, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < channels; ++c)
        image.pixels.push_back(uint8_t((x * x * 31 + y * y * 17 + x * y * 7 + 53 * c) % 256));
    }
  }
  return image;
}

// Soft colours, which lossy formats keep.
Image gradient() {
  Image image{32, 24, 3, {}};
  for (int y = 0; y < 24; ++y) {
    for (int x = 0; x < 32; ++x) {
      for (const int value : {x * 7, y * 9, 200 - 3 * x}) image.pixels.push_back(uint8_t(value));
    }
  }
  return image;
}

int worst_difference(const Image& a, const Image& b) {
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  int worst = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) worst = std::max(worst, std::abs(int(a.pixels[i]) - int(b.pixels[i])));
  return worst;
}

std::vector<uint8_t> from_hex(const std::string& hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < hex.size(); i += 2) bytes.push_back(uint8_t(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::span<const std::byte> bytes_of(const std::string& file) {
  return std::as_bytes(std::span(file));
}

ErrorCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(Encode, PngHoldsPixelsAndTexts) {
  const std::vector<PngText> texts = {
      {"parameters", "a caf\xC3\xA9\nSteps: 20, Seed: 1"}, {"Title", "\xE6\x97\xA5\xE6\x9C\xAC"}, {"empty", ""}};
  for (const int64_t channels : {1, 3}) {
    const Image image = picture(21, 13, channels);
    const std::string file = encode_png(image, texts);
    const Image back = decode(bytes_of(file));
    EXPECT_EQ(back.channels, channels);
    EXPECT_EQ(back.pixels, image.pixels);
    EXPECT_EQ(read_png_texts(bytes_of(file)), texts);
  }
  EXPECT_TRUE(read_png_texts(bytes_of(encode_png(picture(1, 1, 3), {}))).empty());
}

TEST(Encode, JpegAndWebpAreNearAndLosslessIsExact) {
  const Image image = gradient();
  const std::string large = encode_jpeg(image, 95), small = encode_jpeg(image, 40);
  EXPECT_LE(worst_difference(decode(bytes_of(large)), image), 6);
  EXPECT_LT(small.size(), large.size());
  EXPECT_LE(worst_difference(decode(bytes_of(encode_webp(image, 95))), image), 12);
  EXPECT_EQ(decode(bytes_of(encode_webp(image, 100))).pixels, image.pixels);
  const Image grey = picture(8, 8, 1);
  EXPECT_EQ(decode(bytes_of(encode_jpeg(grey, 90))).channels, 1);
}

TEST(Encode, EveryFormatHoldsTheTextOfAPicture) {
  const std::string text = "a caf\xC3\xA9 \xE6\x97\xA5 \xF0\x9F\x8E\xA8\nSteps: 20, Seed: 1";
  const Image image = gradient();
  const std::vector<PngText> texts = {{"other", "x"}, {"parameters", text}};
  const std::vector<std::string> files = {encode_png(image, texts), encode_jpeg(image, 80, text),
                                          encode_webp(image, 80, text), encode_webp(image, 100, text)};
  for (const std::string& file : files) {
    EXPECT_EQ(find_picture_text(bytes_of(file)), text);
    EXPECT_LE(worst_difference(decode(bytes_of(file)), image), 40);
    for (size_t size = 0; size < file.size(); ++size) {
      const std::string cut = file.substr(0, size);
      code_of([&] { find_picture_text(bytes_of(cut)); });
    }
    for (size_t at = 0; at < file.size(); ++at) {
      std::string damaged = file;
      damaged[at] = char(damaged[at] ^ 0xA5);
      code_of([&] { find_picture_text(bytes_of(damaged)); });
    }
  }
  EXPECT_EQ(find_picture_text(bytes_of(encode_jpeg(image, 80))), std::nullopt);
  EXPECT_EQ(find_picture_text(bytes_of(encode_webp(image, 80))), std::nullopt);
  EXPECT_EQ(find_picture_text(bytes_of(encode_png(image))), std::nullopt);
  EXPECT_EQ(code_of([&] { encode_jpeg(image, 80, std::string(40'000, 'x')); }), ErrorCode::usage);
  EXPECT_EQ(code_of([&] { encode_jpeg(image, 80, "\xff"); }), ErrorCode::invalid_input);
}

TEST(Encode, WhatCannotBeWrittenOrReadIsRefused) {
  const Image image = picture(2, 2, 3);
  for (const int quality : {0, 101, -5}) {
    EXPECT_EQ(code_of([&] { encode_jpeg(image, quality); }), ErrorCode::usage);
    EXPECT_EQ(code_of([&] { encode_webp(image, quality); }), ErrorCode::usage);
  }
  const auto with_key = [&](const std::string& key) {
    const std::vector<PngText> texts = {{key, "x"}};
    return code_of([&] { encode_png(image, texts); });
  };
  EXPECT_EQ(with_key(""), ErrorCode::invalid_input);
  EXPECT_EQ(with_key(std::string(80, 'k')), ErrorCode::invalid_input);
  EXPECT_EQ(with_key("\xE6\x97\xA5"), ErrorCode::invalid_input);
  const std::vector<PngText> texts = {{"parameters", "a\nSteps: 1, Seed: 2, Size: 8x8"}};
  const std::string file = encode_png(image, texts);
  for (size_t size = 0; size < file.size(); ++size) {
    const std::string cut = file.substr(0, size);
    EXPECT_EQ(code_of([&] { read_png_texts(bytes_of(cut)); }), ErrorCode::invalid_input) << size;
  }
  for (size_t at = 0; at < file.size(); ++at) {
    std::string damaged = file;
    damaged[at] = char(damaged[at] ^ 0x55);
    try {
      read_png_texts(bytes_of(damaged));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input) << at;
    }
  }
}

TEST(Resize, PillowsPixels) {
  const Json golden = read_json_file(LATHE_TESTS_DIR "/image/resize.json");
  for (const Json& row : golden["resize"]) {
    SCOPED_TRACE(fmt::format("{} {} to {}", row["filter"].dump(), row["from"].dump(), row["to"].dump()));
    const Image image =
        picture(row["from"][0].get<int64_t>(), row["from"][1].get<int64_t>(), row["channels"].get<int64_t>());
    const Filter filter = row["filter"] == "lanczos"   ? Filter::lanczos
                          : row["filter"] == "bicubic" ? Filter::bicubic
                                                       : Filter::bilinear;
    EXPECT_EQ(resize(image, row["to"][0].get<int64_t>(), row["to"][1].get<int64_t>(), filter).pixels,
              from_hex(row["pixels"].get<std::string>()));
  }
  EXPECT_EQ(code_of([] { resize(picture(2, 2, 3), 0, 5, Filter::lanczos); }), ErrorCode::usage);
  EXPECT_EQ(code_of([] { resize(picture(2, 2, 3), 1 << 20, 1 << 20, Filter::lanczos); }), ErrorCode::usage);
}

TEST(Resize, DiffusersFloatsAndBytes) {
  const Json vae = read_json_file(LATHE_TESTS_DIR "/image/resize.json")["vae"];
  // Diffusers cuts sizes down to a multiple of 8 first, by resizing.
  const Image image =
      resize(picture(19, 11, 3), vae["size"][0].get<int64_t>(), vae["size"][1].get<int64_t>(), Filter::lanczos);
  const std::vector<float> planes = to_planes(image);
  ASSERT_EQ(planes.size(), vae["planes"].size());
  for (size_t i = 0; i < planes.size(); ++i) EXPECT_EQ(planes[i], vae["planes"][i].get<float>()) << i;
  EXPECT_EQ(from_planes(vae["from"].get<std::vector<float>>(), 16, 8).pixels,
            from_hex(vae["pixels"].get<std::string>()));
}

TEST(ContactSheet, PicturesStandInTheirCells) {
  const std::vector<Image> images = {Image{2, 1, 3, {1, 1, 1, 2, 2, 2}}, Image{1, 1, 1, {9}},
                                     Image{2, 2, 1, {5, 6, 7, 8}}};
  const Image sheet = contact_sheet(images, 2, 1, 100);
  ASSERT_EQ(sheet.width, 7);
  ASSERT_EQ(sheet.height, 7);
  const auto at = [&](int64_t x, int64_t y) { return int(sheet.row(y)[3 * x]); };
  EXPECT_EQ(at(0, 0), 100);
  EXPECT_EQ(at(1, 1), 1);
  EXPECT_EQ(at(2, 1), 2);
  EXPECT_EQ(at(4, 1), 9);
  EXPECT_EQ(at(5, 1), 100);
  EXPECT_EQ(at(1, 4), 5);
  EXPECT_EQ(at(2, 5), 8);
  EXPECT_EQ(code_of([] { contact_sheet({}, 2, 1, 0); }), ErrorCode::usage);
  EXPECT_EQ(contact_sheet(std::span(images).first(1), 5, 0, 0).width, 2);
}

}  // namespace
}  // namespace lathe::image
