// Prompts become the ids that diffusers feeds; weights and chunks are AUTOMATIC1111's.
#include "pipeline/diffuse/prompt.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace lathe::pipeline {
namespace {

using Pieces = std::vector<PromptPiece>;

text::ClipTokenizer tokenizer_of(const Json& files) {
  const std::filesystem::path folder = LATHE_TESTS_DIR "/text/clip";
  return text::make_clip_tokenizer({read_text_file(folder / "vocab.json"), read_text_file(folder / "merges.txt"),
                                    files[0].dump(), files[1].dump(), "", ""});
}

text::ClipTokenizer sd2_tokenizer() {
  return tokenizer_of(read_json_file(LATHE_TESTS_DIR "/diffuse/prompts.json")["folders"]["sd2"]);
}

void expect_pieces(std::string_view prompt, const Pieces& expected) {
  SCOPED_TRACE(prompt);
  const Pieces found = parse_prompt(prompt);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].text, expected[i].text);
    EXPECT_NEAR(found[i].weight, expected[i].weight, 1e-12) << found[i].text;
    EXPECT_EQ(found[i].begins_chunk, expected[i].begins_chunk) << found[i].text;
  }
}

TEST(Prompt, DiffusersIdsWithoutWeights) {
  const Json golden = read_json_file(LATHE_TESTS_DIR "/diffuse/prompts.json");
  for (const auto& [name, files] : golden["folders"].items()) {
    const text::ClipTokenizer tokenizer = tokenizer_of(files);
    for (const Json& row : golden["cases"]) {
      if (row["folder"] != name) continue;
      SCOPED_TRACE(row.dump());
      const auto ids = row["ids"].get<std::vector<int32_t>>();
      const std::string prompt = row["prompt"].get<std::string>();
      PromptOptions plain;
      plain.weighting = false;
      const EncodedPrompt found = encode_prompt(tokenizer, prompt, plain);
      ASSERT_EQ(found.chunks.size(), 1u);
      EXPECT_EQ(found.chunks[0].ids, ids);
      EXPECT_EQ(found.cut_off, row["cut"].get<std::string>());
      if (prompt.find('(') != std::string::npos || !found.cut_off.empty()) continue;
      const EncodedPrompt weighted = encode_prompt(tokenizer, prompt, {});
      ASSERT_EQ(weighted.chunks.size(), 1u);
      EXPECT_EQ(weighted.chunks[0].ids, ids);
      EXPECT_FALSE(weighted.weighted());
    }
  }
}

// The examples that AUTOMATIC1111 documents.
TEST(Prompt, Weights) {
  expect_pieces("normal text", {{"normal text", 1, false}});
  expect_pieces("an (important) word", {{"an ", 1, false}, {"important", 1.1, false}, {" word", 1, false}});
  expect_pieces("(unbalanced", {{"unbalanced", 1.1, false}});
  expect_pieces("\\(literal\\]", {{"(literal]", 1, false}});
  expect_pieces("(unnecessary)(parens)", {{"unnecessaryparens", 1.1, false}});
  expect_pieces("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", {{"a ", 1, false},
                                                                        {"house", 1.573, false},
                                                                        {" ", 1.1, false},
                                                                        {"on", 1, false},
                                                                        {" a ", 1.1, false},
                                                                        {"hill", 0.55, false},
                                                                        {", sun, ", 1.1, false},
                                                                        {"sky", 1.4641, false},
                                                                        {".", 1.1, false}});
}

TEST(Prompt, WhatIsNotAWeightIsText) {
  expect_pieces("", {{"", 1, false}});
  expect_pieces("a:1.5 b)", {{"a:1.5 b)", 1, false}});
  expect_pieces("(ratio 3:2)", {{"ratio 3", 2, false}});  // as there
  expect_pieces("(a:b)", {{"a:b", 1.1, false}});
  expect_pieces("(a : -0.5 )", {{"a ", -0.5, false}});
  expect_pieces("(a:1.2.3)", {{"a:1.2.3", 1.1, false}});
  expect_pieces("(a:1e9)", {{"a:1e9", 1.1, false}});
  expect_pieces("[a", {{"a", 1 / 1.1, false}});
  expect_pieces("]a)", {{"]a)", 1, false}});
  expect_pieces("a \\\\ b \\c", {{"a \\ b c", 1, false}});
}

TEST(Prompt, BreakBeginsAChunk) {
  expect_pieces("a cat BREAK (red) BREAKFAST",
                {{"a cat", 1, false}, {"", 1, true}, {"red", 1.1, false}, {" BREAKFAST", 1, false}});
  const text::ClipTokenizer tokenizer = sd2_tokenizer();
  const EncodedPrompt prompt = encode_prompt(tokenizer, "a fox BREAK the dog", {});
  ASSERT_EQ(prompt.chunks.size(), 2u);
  EXPECT_EQ(prompt.chunks[0].ids, encode_prompt(tokenizer, "a fox", {}).chunks[0].ids);
  EXPECT_EQ(prompt.chunks[1].ids, encode_prompt(tokenizer, "the dog", {}).chunks[0].ids);
}

TEST(Prompt, LongPromptsGoIntoChunksThatEndAtCommas) {
  const text::ClipTokenizer tokenizer = sd2_tokenizer();
  std::string words;
  for (int i = 0; i < 100; ++i) words += "the ";
  const EncodedPrompt plain = encode_prompt(tokenizer, words, {});
  ASSERT_EQ(plain.chunks.size(), 2u);
  EXPECT_EQ(plain.tokens, 100u);
  EXPECT_EQ(plain.chunks[0].ids[76], tokenizer.eos_id);
  EXPECT_EQ(plain.chunks[1].ids[26], tokenizer.eos_id);
  EXPECT_EQ(plain.chunks[1].ids[27], tokenizer.pad_id);

  words.clear();
  for (int i = 0; i < 100; ++i) words += i == 65 ? ", the " : "the ";
  const EncodedPrompt comma = encode_prompt(tokenizer, words, {});
  ASSERT_EQ(comma.chunks.size(), 2u);
  EXPECT_EQ(comma.chunks[0].ids[67], tokenizer.eos_id);  // start, 65 words, the comma
  EXPECT_EQ(comma.chunks[1].ids[36], tokenizer.eos_id);
}

TEST(Prompt, WeightsStandAtTheirTokens) {
  const text::ClipTokenizer tokenizer = sd2_tokenizer();
  const EncodedPrompt prompt = encode_prompt(tokenizer, "the (the:1.5) the", {});
  EXPECT_TRUE(prompt.weighted());
  EXPECT_EQ(prompt.chunks[0].weights[1], 1);
  EXPECT_EQ(prompt.chunks[0].weights[2], 1.5f);
  EXPECT_EQ(prompt.chunks[0].weights[3], 1);
  EXPECT_EQ(prompt.chunks[0].ids, encode_prompt(tokenizer, "the the the", {}).chunks[0].ids);
}

TEST(Prompt, BothPromptsGetTheSameNumberOfChunks) {
  const text::ClipTokenizer tokenizer = sd2_tokenizer();
  EncodedPrompt a = encode_prompt(tokenizer, "a BREAK b BREAK c", {}), b = encode_prompt(tokenizer, "", {});
  pad_to_same_chunks(a, b, tokenizer);
  EXPECT_EQ(b.chunks.size(), 3u);
  EXPECT_EQ(b.chunks[2].ids, b.chunks[0].ids);
}

TEST(Prompt, WeightsKeepTheMean) {
  std::vector<float> hidden = {1, 2, 3, 4, 5, 6};  // [3, 2]
  apply_weights(hidden, std::vector<float>{1, 2, 1});
  EXPECT_NEAR(std::accumulate(hidden.begin(), hidden.end(), 0.0), 21, 1e-5);
  EXPECT_NEAR(hidden[2] / hidden[0], 6, 1e-5);
  std::vector<float> same = {1, 2};
  apply_weights(same, std::vector<float>{1, 1});
  EXPECT_EQ(same, (std::vector<float>{1, 2}));
  std::vector<float> none = {1, -1};
  EXPECT_THROW(apply_weights(none, std::vector<float>{2, 2}), Error);
}

TEST(Prompt, HostilePromptsAreReadOrRefused) {
  const text::ClipTokenizer tokenizer = sd2_tokenizer();
  const auto code = [&](const std::string& prompt) {
    try {
      encode_prompt(tokenizer, prompt, {});
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  std::string words, brackets;
  for (int i = 0; i < 100'000; ++i) words += "word ";
  EXPECT_EQ(code(words), ErrorCode::usage);
  EXPECT_EQ(code("\xff\xfe"), ErrorCode::invalid_input);
  EXPECT_EQ(parse_prompt(std::string(100'000, '(')).size(), 1u);
  for (int i = 0; i < 2'000; ++i) brackets += "(a:1.2)[b]\\";
  EXPECT_GT(parse_prompt(brackets).size(), 2'000u);
  brackets.clear();
  for (int i = 0; i < 100'000; ++i) brackets += "(a";
  EXPECT_EQ(code(brackets), ErrorCode::usage);
  PromptOptions plain;
  plain.weighting = false;
  EXPECT_FALSE(encode_prompt(tokenizer, words, plain).cut_off.empty());
}

}  // namespace
}  // namespace lathe::pipeline
