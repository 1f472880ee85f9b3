// Every format gives the picture that its file was made from; damaged files are refused or read, never worse.
#include "image/image.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "base/error.h"

namespace lathe::image {
namespace {

using Content = std::vector<std::byte>;

// Calls body(name, content) for every file that tools/make_image_corpus.py wrote.
void for_each_file(const std::function<void(const std::string&, const Content&)>& body) {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LATHE_TESTS_DIR "/image/corpus")) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    const auto bytes = std::as_bytes(std::span(text));
    SCOPED_TRACE(entry.path().filename().string());
    body(entry.path().filename().string(), {bytes.begin(), bytes.end()});
    ++files;
  }
  EXPECT_GE(files, 34u);
}

// Channel c of pixel (x, y) of the picture that a file's name starts with.
int expected(const std::string& name, int x, int y, int c) {
  if (name.starts_with("grey_")) return 12 * x + 8 * y;
  if (name.starts_with("bits_")) return (x + y) % 2 * 255;
  return c == 0 ? 15 * x : c == 1 ? 25 * y : 200 - 10 * x;
}

// True: read. False: refused as a parser may.
bool read_or_refuse(const Content& content) {
  try {
    const Image image = decode(content);
    EXPECT_EQ(int64_t(image.pixels.size()), image.width * image.height * image.channels);
    return true;
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::unsupported) << error.what();
    return false;
  }
}

TEST(Image, EveryFormatGivesItsPicture) {
  for_each_file([](const std::string& name, const Content& content) {
    const Image image = to_rgb(decode(content));
    ASSERT_EQ(image.width, 13);
    ASSERT_EQ(image.height, 9);
    const bool lossy = name.find("_lossy") != std::string::npos;
    int worst = 0;
    for (int y = 0; y < 9; ++y) {
      for (int x = 0; x < 13; ++x) {
        for (int c = 0; c < 3; ++c)
          worst = std::max(worst, std::abs(image.row(y)[3 * x + c] - expected(name, x, y, c)));
      }
    }
    EXPECT_LE(worst, lossy ? 20 : 0);
  });
}

TEST(Image, GreyFilesHaveOneChannel) {
  for_each_file([](const std::string& name, const Content& content) {
    if (name == "grey_png" || name == "grey_lossy_jpeg" || name == "grey_jp2" || name == "grey_pgm") {
      EXPECT_EQ(decode(content).channels, 1);
    }
  });
}

TEST(Image, GreyIsTheWeightedSum) {
  const Image image{2, 1, 3, {255, 255, 255, 230, 73, 255}};
  EXPECT_EQ(to_grey(image).pixels, (std::vector<uint8_t>{255, 141}));
}

TEST(Image, FilesCutShortAreReadOrRefused) {
  for_each_file([](const std::string&, const Content& content) {
    for (size_t size = 0; size < content.size(); ++size)
      read_or_refuse({content.begin(), content.begin() + std::ptrdiff_t(size)});
    EXPECT_FALSE(read_or_refuse({content.begin(), content.begin() + std::ptrdiff_t(content.size() / 2)}));
  });
}

TEST(Image, DamagedFilesAreReadOrRefused) {
  std::mt19937 random(7);
  for_each_file([&](const std::string&, const Content& content) {
    for (int i = 0; i < 200; ++i) {
      Content damaged = content;
      for (int k = 0; k < 1 + i % 4; ++k) damaged[random() % damaged.size()] = std::byte(random());
      read_or_refuse(damaged);
    }
  });
}

TEST(Image, PicturesBeyondTheLimitAreRefused) {
  const std::string text = "P6 1000000 1000000 255\n";
  const auto bytes = std::as_bytes(std::span(text));
  EXPECT_FALSE(read_or_refuse({bytes.begin(), bytes.end()}));
  Content empty;
  EXPECT_FALSE(read_or_refuse(empty));
}

}  // namespace
}  // namespace lathe::image
