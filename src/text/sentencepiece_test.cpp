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

INSTANTIATE_TEST_SUITE_P(Files, SentencePiece, testing::Values("llama", "no_prefix", "prefix_symbols"));

// Any cut of the file is an error or another tokenizer, never a crash.
TEST(SentencePieceFile, TruncatedFilesAreRefused) {
  const std::string bytes = model_bytes("llama");
  for (size_t size = 0; size < bytes.size(); size += 7) {
    const std::string part = bytes.substr(0, size);
    EXPECT_THROW(read_sentencepiece(std::as_bytes(std::span(part)), "tokenizer.model"), Error) << size;
  }
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += char(value | 128);
  return bytes + char(value);
}
std::string field(uint64_t number, int64_t value) { return varint(number << 3) + varint(uint64_t(value)); }
std::string message(uint64_t number, const std::string& body) {
  return varint(number << 3 | 2) + varint(body.size()) + body;
}
std::string piece(const std::string& text, int64_t type = 1) { return message(1, message(1, text) + field(3, type)); }

// What a BPE model with bytes ends with.
const std::string kTrainer = field(3, 2) + field(35, 1);
const std::string kNormalizer = message(3, field(4, 0));
const std::string kEnd = message(2, kTrainer) + kNormalizer;

// What is said of a file; empty: it is fine.
std::string problem(const std::string& bytes, const TokenizerSettings& settings = {}) {
  try {
    Tokenizer::from_json(
        tokenizer_json_from_sentencepiece(std::as_bytes(std::span(bytes)), "tokenizer.model", settings));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void expect_problem(const std::string& bytes, const std::string& said, const TokenizerSettings& settings = {}) {
  const std::string found = problem(bytes, settings);
  EXPECT_NE(found.find(said), std::string::npos) << found;
}

const std::string kThree = piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3);

TEST(SentencePieceFile, SettingsThatNobodyComputesAreNamed) {
  EXPECT_EQ(problem(kThree + kEnd), "");
  expect_problem(kThree + message(2, field(3, 1) + field(35, 1)) + kNormalizer, "unigram");
  expect_problem(kThree + message(2, field(3, 2)) + kNormalizer, "byte_fallback");
  expect_problem(kThree + message(2, kTrainer) + message(3, ""), "remove_extra_whitespaces");
  expect_problem(kThree + message(2, kTrainer) + message(3, field(4, 0) + message(2, "map")), "normalization");
  expect_problem(kThree + message(2, kTrainer), "no normalizer_spec");
  expect_problem("no protobuf", "tokenizer.model");
  expect_problem("IQ== 0\nIg== 1\n", "tiktoken");
}

TEST(SentencePieceFile, MessagesNameItsOwnFields) {
  expect_problem(piece("<unk>", 2) + kEnd, "trainer_spec.bos_id: expected an id below 1, found 1");
  expect_problem(kThree + piece("a") + piece("a") + kEnd, "pieces: 3 and 4 are both \"a\"");
  expect_problem(kThree + piece("\xff") + kEnd, "pieces: token 3 is not UTF-8");
}

// Text becomes an unused piece on the way to a longer one only, which lists of merges cannot say.
TEST(SentencePieceFile, UnusedPiecesAreLeftOutOrRefused) {
  EXPECT_EQ(problem(kThree + piece("a") + piece("<unused0>", 5) + kEnd), "");
  expect_problem(kThree + piece("a") + piece("aa", 5) + kEnd, "piece 4 (\"aa\"): type 5 (unused)");
}

TEST(SentencePieceFile, AModelWithoutABeginningAddsNone) {
  const std::string none = piece("<unk>", 2) + piece("a") + message(2, kTrainer + field(41, -1) + field(42, -1)) +
                           message(3, field(3, 0) + field(4, 0));
  EXPECT_EQ(problem(none), "");
  EXPECT_EQ(open(none).encode("a", true), std::vector<int32_t>{1});
  expect_problem(none, "bos_id", {.added_tokens = "", .tokenizer_config = R"({"add_bos_token": true})",
                                  .special_tokens_map = ""});
}

// a, aa, aaa ..: 8 MB of pieces would have 8 million merges of 23 GB.
TEST(SentencePieceFile, PiecesThatAreMadeInTooManyWaysAreRefused) {
  std::string bytes = kThree;
  for (size_t length = 1; length <= 1500; ++length) bytes += piece(std::string(length, 'a'));
  expect_problem(bytes + kEnd, "ways");
  std::string distinct = kThree;
  for (size_t i = 0; i < 300; ++i) distinct += piece(std::string(4000, 'b') + std::to_string(i));
  expect_problem(distinct + kEnd, "parts of the first");
}

Tokenizer open_with(const std::string& bytes, const TokenizerSettings& settings) {
  return Tokenizer::from_json(
      tokenizer_json_from_sentencepiece(std::as_bytes(std::span(bytes)), "tokenizer.model", settings));
}

TEST(SentencePieceFile, TokensOfTheFilesBesideIt) {
  const std::string bytes = kThree + piece("a") + piece("\xE2\x96\x81") + kEnd;
  const Tokenizer tokenizer = open_with(
      bytes, {.added_tokens = R"({"<|im_start|>": 5, "<|x|>": 6})",
              .tokenizer_config = R"({"add_bos_token": true, "add_eos_token": true, "eos_token": "<|im_end|>",
                  "added_tokens_decoder": {"5": {"content": "<|im_start|>", "special": true, "rstrip": true},
                                           "7": {"content": "<|im_end|>", "special": true}}})",
              .special_tokens_map = ""});
  EXPECT_EQ(tokenizer.encode("<|im_start|>  a<|x|>", true), (std::vector<int32_t>{1, 5, 4, 3, 6, 7}));
  EXPECT_TRUE(tokenizer.is_special(5));
  EXPECT_FALSE(tokenizer.is_special(6));
  EXPECT_EQ(open_with(bytes, {.added_tokens = R"({"<|x|>": 5})",
                              .tokenizer_config = R"({"add_bos_token": false})",
                              .special_tokens_map = R"({"additional_special_tokens": ["<|x|>"]})"})
                .encode("<|x|>", true),
            std::vector<int32_t>{5});
  const auto refused = [&](std::string_view added, std::string_view config, const std::string& said) {
    expect_problem(bytes, said, {.added_tokens = added, .tokenizer_config = config, .special_tokens_map = ""});
  };
  refused(R"({"<|x|>": 6})", "", "added_tokens.json: token 6 (\"<|x|>\"), where 5");
  refused(R"({"<|x|>": -1})", "", "added_tokens.json: token -1");
  refused(R"({"b": 3})", "", "added_tokens.json: token 3 is \"b\", of the pieces it is \"a\"");
  refused(R"({"b": "3"})", "", "added_tokens.json: \"b\": expected an id");
  refused(R"({"b": 5})", R"({"legacy": false})", "legacy = false beside 1 added tokens");
  refused("[]", "", "added_tokens.json: expected an object");
  refused("", R"({"added_tokens_decoder": {"x": {"content": "b"}}})", "tokenizer_config.json: added_tokens_decoder");
  refused("", R"({"added_tokens_decoder": {"5": {}}})", "tokenizer_config.json");
  refused(R"({"b": 5})", R"({"added_tokens_decoder": {"5": {"content": "c"}}})", "token 5 is \"b\" and \"c\"");
  refused("", R"({"bos_token": "<begin>"})", "tokenizer_config.json: bos_token \"<begin>\"");
}

}  // namespace
}  // namespace lathe::text
