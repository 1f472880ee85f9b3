// Lathe against the `tokenizers` library: tests/text/goldens, made by tools/make_tokenizer_goldens.py.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "io/gguf.h"
#include "text/gguf_tokenizer.h"
#include "text/tokenizer.h"

namespace lathe::text {
namespace {

const std::filesystem::path kData = std::filesystem::path(LATHE_TESTS_DIR) / "text";

using Ids = std::vector<int32_t>;

std::string stream(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  for (const int32_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

void expect_same(const Tokenizer& tokenizer, const Json& golden) {
  EXPECT_EQ(tokenizer.vocab_size(), golden["vocab_size"].get<size_t>());
  ASSERT_GT(golden["rows"].size(), 100u);
  for (const Json& row : golden["rows"]) {
    const Ids ids = row["ids"].get<Ids>();
    const std::string decoded = row["decoded"].get<std::string>();
    if (row.contains("text")) {
      const std::string text = row["text"].get<std::string>();
      SCOPED_TRACE(Json(text).dump());
      EXPECT_EQ(tokenizer.encode(text, false), ids);
      EXPECT_EQ(tokenizer.encode(text, true), row.contains("special") ? row["special"].get<Ids>() : ids);
    }
    SCOPED_TRACE(Json(ids).dump());
    EXPECT_EQ(tokenizer.decode(ids, false), decoded);
    EXPECT_EQ(tokenizer.decode(ids, true),
              row.contains("skipped") ? row["skipped"].get<std::string>() : decoded);
    EXPECT_EQ(stream(tokenizer, ids, false), decoded);
    if (testing::Test::HasFailure()) return;  // one difference is enough to read
  }
}

class TokenizerGolden : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerGolden, SameAsTokenizers) {
  const std::string file = std::string(GetParam()) + ".json";
  const std::string text = read_text_file(kData / "tokenizers" / file);
  const Json golden = read_json_file(kData / "goldens" / file);
  const Tokenizer tokenizer = Tokenizer::from_text(text);
  expect_same(tokenizer, golden);
  expect_same(Tokenizer::from_json(parse_json(text, file)), golden);
  const std::string compiled = tokenizer.serialize();
  const Tokenizer loaded = Tokenizer::deserialize(std::as_bytes(std::span(compiled)));
  expect_same(loaded, golden);
  EXPECT_EQ(loaded.serialize(), compiled);
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden,
                         testing::Values("neox", "gpt2", "smollm_like", "llama3", "llama2",
                                         "llama2_metaspace", "clip_like", "oddities", "sentencepiece"),
                         [](const auto& test) { return std::string(test.param); });

TEST(GgufTokenizer, MergesFromScores) {
  const Json metadata = read_json_file(kData / "sentencepiece_gguf.json");
  GgufTokenizer gguf;
  gguf.model = metadata["model"];
  gguf.tokens = metadata["tokens"].get<std::vector<std::string>>();
  gguf.scores = metadata["scores"].get<std::vector<float>>();
  gguf.token_type = metadata["token_type"].get<Ids>();
  gguf.bos_token_id = 1;
  gguf.eos_token_id = 2;
  gguf.unknown_token_id = 0;
  const Json ours = tokenizer_json_from_gguf(gguf);
  const Json reference = read_json_file(kData / "tokenizers" / "sentencepiece.json");
  EXPECT_EQ(ours["model"]["merges"], reference["model"]["merges"]);
  expect_same(Tokenizer::from_json(ours), read_json_file(kData / "goldens" / "sentencepiece.json"));
}

// LATHE_TEST_MODEL: path of the GGUF of SmolLM2.
TEST(GgufTokenizer, SmolLm2) {
  const char* path = std::getenv("LATHE_TEST_MODEL");
  if (!path) GTEST_SKIP() << "LATHE_TEST_MODEL is not set";
  const io::GgufFile file = io::GgufFile::open(path);
  const Json json = tokenizer_json_from_gguf(read_gguf_tokenizer(file.metadata));
  const Json golden = read_json_file(kData / "goldens" / "smollm2.json");
  const std::string text = json.dump();

  const auto start = std::chrono::steady_clock::now();
  const Tokenizer tokenizer = Tokenizer::from_text(text);
  const auto parsed = std::chrono::steady_clock::now();
  expect_same(tokenizer, golden);
  const std::string compiled = tokenizer.serialize();
  const auto again = std::chrono::steady_clock::now();
  const Tokenizer loaded = Tokenizer::deserialize(std::as_bytes(std::span(compiled)));
  const auto done = std::chrono::steady_clock::now();
  expect_same(loaded, golden);
  const auto ms = [](auto duration) { return std::chrono::duration<double, std::milli>(duration).count(); };
  RecordProperty("tokenizer_json_ms", std::to_string(ms(parsed - start)));
  RecordProperty("compiled_ms", std::to_string(ms(done - again)));
  RecordProperty("compiled_bytes", std::to_string(compiled.size()));
}

}  // namespace
}  // namespace lathe::text
