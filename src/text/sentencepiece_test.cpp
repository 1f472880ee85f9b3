// Lathe against SentencePiece itself: tests/text/sentencepiece, made by tools/make_sentencepiece_goldens.py.
#include "text/sentencepiece.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "text/tokenizer.h"

namespace lathe::text {
namespace {

const std::filesystem::path kData = std::filesystem::path(LATHE_TESTS_DIR) / "text" / "sentencepiece";

std::string model_bytes(const std::string& name) { return read_text_file(kData / (name + ".model")); }

Tokenizer open(const std::string& bytes) {
  return Tokenizer::from_json(tokenizer_json_from_sentencepiece(std::as_bytes(std::span(bytes)), "tokenizer.model"));
}

class SentencePiece : public testing::TestWithParam<const char*> {};

TEST_P(SentencePiece, GivesTheSameIds) {
  const Json golden = read_json_file(kData / (std::string(GetParam()) + ".json"));
  const Tokenizer tokenizer = open(model_bytes(GetParam()));
  EXPECT_EQ(tokenizer.vocab_size(), golden["vocab_size"].get<size_t>());
  ASSERT_GT(golden["rows"].size(), 80u);
  for (const Json& row : golden["rows"]) {
    SCOPED_TRACE(row["text"].dump());
    const auto ids = row["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.encode(row["text"].get<std::string>(), false), ids);
    EXPECT_EQ(tokenizer.decode(ids, true), row["decoded"].get<std::string>());
    std::vector<int32_t> with_begin = {golden["bos"].get<int32_t>()};
    with_begin.insert(with_begin.end(), ids.begin(), ids.end());
    EXPECT_EQ(tokenizer.encode(row["text"].get<std::string>(), true), with_begin);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, SentencePiece, testing::Values("llama", "no_prefix"));

// Any cut of the file is an error or another tokenizer, never a crash.
TEST(SentencePieceFile, TruncatedFilesAreRefused) {
  const std::string bytes = model_bytes("llama");
  for (size_t size = 0; size < bytes.size(); size += 7) {
    const std::string part = bytes.substr(0, size);
    EXPECT_THROW(read_sentencepiece(std::as_bytes(std::span(part)), "tokenizer.model"), Error) << size;
  }
}

// A message with one field of one byte, as field numbers below 16 and varints below 128 are written.
std::string field(int number, int value) { return {char(number << 3), char(value)}; }
std::string message(int number, const std::string& body) {
  return std::string{char(number << 3 | 2), char(body.size())} + body;
}

TEST(SentencePieceFile, SettingsThatNobodyComputesAreNamed) {
  const std::string piece = message(1, message(1, "a"));
  const std::string bytes_on = {char(0x98), 2, 1};  // field 35
  const std::string trainer = message(2, field(3, 2) + bytes_on), normalizer = message(3, field(4, 0));
  const auto problem = [](const std::string& bytes) -> std::string {
    try {
      read_sentencepiece(std::as_bytes(std::span(bytes)), "tokenizer.model");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(problem(piece + trainer + normalizer), "");
  EXPECT_NE(problem(piece + message(2, field(3, 1) + bytes_on) + normalizer).find("unigram"), std::string::npos);
  EXPECT_NE(problem(piece + message(2, field(3, 2)) + normalizer).find("byte_fallback"), std::string::npos);
  EXPECT_NE(problem(piece + trainer + message(3, "")).find("remove_extra_whitespaces"), std::string::npos);
  EXPECT_NE(problem(piece + trainer + message(3, field(4, 0) + message(2, "map"))).find("normalization"),
            std::string::npos);
  EXPECT_NE(problem(piece + trainer).find("no normalizer_spec"), std::string::npos);
  EXPECT_NE(problem("no protobuf").find("tokenizer.model"), std::string::npos);
}

}  // namespace
}  // namespace lathe::text
