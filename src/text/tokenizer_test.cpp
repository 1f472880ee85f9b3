#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "text/regex.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

using Ids = std::vector<int32_t>;

Tokenizer load(const std::string& name) {
  return Tokenizer::from_text(
      read_text_file(std::filesystem::path(LATHE_TESTS_DIR) / "text" / "tokenizers" / (name + ".json")),
      name);
}

template <class Body>
ErrorCode code_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::internal;
}

// Any code points: mostly assigned ones, now and then white space and ASCII.
std::string random_text(std::mt19937& random, int length) {
  std::string text;
  for (int i = 0; i < length; ++i) {
    uint32_t c = 0;
    switch (random() % 6) {
      case 0:
        c = random() % 0x110000;
        break;
      case 1:
        c = random() % 0x10000;
        break;
      case 2:
        c = random() % 0x800;
        break;
      case 3:
        c = uint32_t(" \n\t0aA'"[random() % 7]);
        break;
      default:
        c = random() % 0x80;
    }
    if (c >= 0xD800 && c < 0xE000) c = 'x';
    append_utf8(text, c);
  }
  return text;
}

// Byte-level BPE without a normalizer loses nothing.
TEST(Tokenizer, ByteLevelRoundTrip) {
  for (const char* name : {"smollm_like", "llama3"}) {
    const Tokenizer tokenizer = load(name);
    std::mt19937 random(1);
    for (int i = 0; i < 300; ++i) {
      const std::string text = random_text(random, int(random() % 200));
      ASSERT_EQ(tokenizer.decode(tokenizer.encode(text, false), false), text);
    }
  }
}

// However ids are chosen, streaming gives decode()'s text, in whole characters.
TEST(Tokenizer, StreamEqualsDecode) {
  for (const char* name :
       {"smollm_like", "llama3", "llama2", "llama2_metaspace", "clip_like", "oddities", "neox"}) {
    const Tokenizer tokenizer = load(name);
    std::mt19937 random(2);
    for (int i = 0; i < 200; ++i) {
      Ids ids(random() % 60);
      for (int32_t& id : ids) id = int32_t(random() % uint32_t(tokenizer.id_limit() + 2)) - 1;
      for (const bool skip : {false, true}) {
        StreamDecoder decoder(tokenizer, skip);
        std::string text;
        for (const int32_t id : ids) {
          const std::string part = decoder.push(id);
          ASSERT_EQ(valid_utf8_prefix(part), part.size());
          text += part;
        }
        ASSERT_EQ(text + decoder.finish(), tokenizer.decode(ids, skip)) << name;
      }
    }
  }
}

TEST(Tokenizer, StreamHoldsIncompleteCharacters) {
  const Tokenizer tokenizer = load("smollm_like");
  StreamDecoder decoder(tokenizer, false);
  // the four bytes of U+1F600, as byte-level characters
  const char* bytes[] = {"ð", "Ł", "ĺ", "Ģ"};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(decoder.push(*tokenizer.token_to_id(bytes[i])), "");
  EXPECT_EQ(decoder.push(*tokenizer.token_to_id(bytes[3])), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decoder.push(*tokenizer.token_to_id(bytes[0])), "");
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
}

// A quadratic merge would need hours for these: no clock is asked, the run would not end.
TEST(Tokenizer, LongRunsTakeLinearTime) {
  for (const char* name : {"smollm_like", "llama3", "llama2"}) {
    const Tokenizer tokenizer = load(name);
    for (const std::string unit : {"a", " ", "ab", "\xE6\xBC\xA2", "\n", "!"}) {
      std::string text;
      while (text.size() < (unit == "a" ? 1'000'000 : 200'000)) text += unit;
      const Ids ids = tokenizer.encode(text, false);
      EXPECT_EQ(tokenizer.decode(ids, false), text) << name;
    }
  }
}

TEST(Tokenizer, ThreadsShareOne) {
  const Tokenizer tokenizer = load("llama3");
  const std::string text = "The same text, 123 times: \xE6\xBC\xA2\xE5\xAD\x97 <|eot_id|>";
  const Ids expected = tokenizer.encode(text, true);
  std::vector<std::thread> threads;
  std::vector<int> same(4, 0);
  for (size_t t = 0; t < same.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) same[t] += tokenizer.encode(text, true) == expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, std::vector<int>(4, 50));
}

TEST(Tokenizer, DamagedCompiledForms) {
  const std::string compiled = load("llama3").serialize();
  std::mt19937 random(3);
  const auto survive = [](const std::string& bytes) {
    try {
      const Tokenizer tokenizer = Tokenizer::deserialize(std::as_bytes(std::span(bytes)));
      tokenizer.decode(tokenizer.encode("Hello w\xC3\xB6rld 123", true), false);
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
    }
  };
  for (int i = 0; i < 300; ++i) {
    std::string damaged = compiled;
    for (uint32_t n = random() % 4; n < 4; ++n) damaged[random() % damaged.size()] = char(random());
    survive(damaged);
    survive(compiled.substr(0, random() % compiled.size()));
  }
  std::string later = compiled;
  later[7] = '2';
  EXPECT_EQ(code_of([&] { Tokenizer::deserialize(std::as_bytes(std::span(later))); }),
            ErrorCode::unsupported);
  EXPECT_EQ(code_of([&] { Tokenizer::deserialize({}); }), ErrorCode::invalid_input);
}

std::string minimal(const std::string& members, const std::string& model) {
  return "{" + members + "\"model\":{\"type\":\"BPE\"," + model + "}}";
}

TEST(Tokenizer, RefusesWhatItDoesNotKnow) {
  const std::string model = R"("vocab":{"a":0,"b":1,"ab":2},"merges":["a b"])";
  EXPECT_EQ(Tokenizer::from_text(minimal("", model)).encode("ab", false), Ids{2});
  const auto code = [&](const std::string& members, const std::string& bpe) {
    return code_of([&] { Tokenizer::from_text(minimal(members, bpe)); });
  };
  EXPECT_EQ(code(R"("normalizer":{"type":"Precompiled"},)", model), ErrorCode::unsupported);
  EXPECT_EQ(code(R"("pre_tokenizer":{"type":"UnicodeScripts"},)", model), ErrorCode::unsupported);
  EXPECT_EQ(code(R"("decoder":{"type":"CTC"},)", model), ErrorCode::unsupported);
  EXPECT_EQ(code(R"("post_processor":{"type":"Other"},)", model), ErrorCode::unsupported);
  EXPECT_EQ(code("", R"("dropout":0.1,)" + model), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { Tokenizer::from_text(R"({"model":{"type":"Unigram","vocab":[["a",0.0]]}})"); }),
            ErrorCode::unsupported);
  EXPECT_EQ(code("", R"("vocab":{"a":0,"b":1},"merges":["a b"])"), ErrorCode::invalid_input);
  EXPECT_EQ(code("", R"("vocab":{"a":0,"b":0},"merges":[])"), ErrorCode::invalid_input);
  EXPECT_EQ(code("", R"("vocab":{"a":0,"b":99999999999},"merges":[])"), ErrorCode::invalid_input);
  EXPECT_EQ(code("", R"("vocab":{"a":0},"merges":["a"])"), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { Tokenizer::from_text(minimal("", model)).encode("a\xFF", false); }),
            ErrorCode::invalid_input);
}

// Where Oniguruma's syntax and PCRE2's differ in meaning.
TEST(Regex, MeansWhatOnigurumaMeans) {
  const auto matches = [](const char* pattern, std::string_view text) {
    const Regex regex(pattern);
    RegexMatcher matcher(regex);
    matcher.start(text);
    std::vector<std::string> found;
    RegexMatch match;
    while (matcher.next(match)) found.emplace_back(text.substr(match.begin, match.end - match.begin));
    return found;
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(matches("\\d{1,3}+", "12345 6"), (Texts{"12345", "6"}));  // a repeated repetition, not possessive
  EXPECT_EQ(matches("\\h+", "xbeef g0"), (Texts{"beef", "0"}));       // hexadecimal digits
  EXPECT_EQ(matches("^.", "ab\ncd"), (Texts{"a", "c"}));              // every line
  EXPECT_EQ(matches("\\s", "\xE1\xA0\x8E"), Texts{});                 // U+180E is no white space any more
  EXPECT_EQ(matches("\\w+", "e\xCC\x81_1-"), Texts{"e\xCC\x81_1"});   // marks belong to words
  EXPECT_EQ(matches("\\p{Han}", "\xE3\x80\x85\xE3\x80\x81"),
            Texts{"\xE3\x80\x85"});  // script, not extensions
  EXPECT_EQ(code_of([] { Regex regex("[a-z&&[^aeiou]]"); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { Regex regex("(a"); }), ErrorCode::invalid_input);
}

}  // namespace
}  // namespace lathe::text
