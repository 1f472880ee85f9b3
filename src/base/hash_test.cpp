// Hashes against published test vectors: FIPS 180-4 / NIST CAVS for SHA-256.
#include "base/hash.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace lathe {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Hash, Sha256OfPublishedVectors) {
  EXPECT_EQ(sha256_hex(bytes("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(bytes("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(bytes(std::string(1000000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Hash, Sha256InPartsIsTheSame) {
  const std::string text(1000, 'q');
  for (const size_t part : {1, 7, 63, 64, 65, 1000}) {
    Sha256 hash;
    for (size_t at = 0; at < text.size(); at += part)
      hash.update(bytes(std::string_view(text).substr(at, part)));
    EXPECT_EQ(hash.finish_hex(), sha256_hex(bytes(text)));
  }
}

TEST(Hash, Sha256OfAFile) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("lathe_hash_test_{}", ::getpid());
  std::string text;
  for (int i = 0; text.size() < (size_t{16} << 20) + 5000; ++i)
    text += std::to_string(i);  // more than one chunk
  write_text_file(path, text);
  EXPECT_EQ(sha256_file_hex(path), sha256_hex(bytes(text)));
  write_text_file(path, "");
  EXPECT_EQ(sha256_file_hex(path), sha256_hex(bytes("")));
  std::filesystem::remove(path);
  EXPECT_THROW(sha256_file_hex(path), Error);
}

TEST(Hash, Xxh3SeesEveryBit) {
  // XXH3-128 of nothing with seed 0, as published in the xxHash repository's sanity checks.
  EXPECT_EQ(xxh3_128_hex({}), "99aa06d3014798d86001c324468d497f");
  std::vector<std::byte> data(1000, std::byte{1});
  const std::string whole = xxh3_128_hex(data);
  EXPECT_EQ(whole.size(), 32u);
  for (const size_t at : {size_t{0}, size_t{499}, size_t{999}}) {
    data[at] ^= std::byte{4};
    EXPECT_NE(xxh3_128_hex(data), whole);
    data[at] ^= std::byte{4};
  }
  EXPECT_EQ(xxh3_128_hex(data), whole);
}

}  // namespace
}  // namespace lathe
