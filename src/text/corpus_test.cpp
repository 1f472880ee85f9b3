// The fuzzers' seeds, replayed where no fuzzer is built: whole, cut short, and with a byte changed, a template or a
// tokenizer is taken or refused with an Error, never more.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "text/chat_template.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

const std::filesystem::path kCorpus = std::filesystem::path(LATHE_TESTS_DIR) / "text" / "corpus";

using Use = std::function<void(const std::string&)>;

// Calls body(name, content) for every file of a folder.
void for_each_file(const std::string& folder, size_t at_least,
                   const std::function<void(const std::string&, const std::string&)>& body) {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kCorpus / folder)) {
    const std::string name = entry.path().filename().string();
    SCOPED_TRACE(folder + "/" + name);
    body(name, read_text_file(entry.path()));
    ++files;
  }
  EXPECT_GE(files, at_least);
}

// Nothing, or the code of the Error; any other exception fails the test by leaving it.
std::optional<ErrorCode> code_of(const Use& use, const std::string& text) {
  try {
    use(text);
    return std::nullopt;
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
    return error.code();
  }
}

void expect_only_errors(const Use& use, const std::string& text) {
  const size_t step = std::max<size_t>(1, text.size() / 150);
  for (size_t at = 0; at < text.size(); at += step) {
    code_of(use, text.substr(0, at));
    for (const uint8_t mask : {0x01, 0x80, 0xff}) {
      std::string changed = text;
      changed[at] = char(uint8_t(changed[at]) ^ mask);
      code_of(use, changed);
    }
    std::string without = text;
    without.erase(at, step);
    code_of(use, without);
  }
}

void render(const std::string& source) {
  static const Json kMessages = Json::parse(
      R"([{"role":"system","content":" be kind "},{"role":"user","content":"hi"},{"role":"assistant","content":null,
          "tool_calls":[{"function":{"name":"f","arguments":{"x":[1,2.5,true]}}}]}])");
  ChatTemplate(source).render(kMessages, {});
}

// A seed is a tokenizer.json, a zero byte, and a text. What is encoded decodes to UTF-8, and the compiled form does
// the same.
void encode(const std::string& seed) {
  const size_t cut = seed.find('\0');
  const std::string text = cut == seed.npos ? "Hello 123  <s>\n" : seed.substr(cut + 1);
  const Tokenizer tokenizer = Tokenizer::from_text(seed.substr(0, cut));
  const auto ids = tokenizer.encode(text, true);
  const std::string decoded = tokenizer.decode(ids, false);
  EXPECT_EQ(valid_utf8_prefix(decoded), decoded.size());
  const std::string bytes = tokenizer.serialize();
  EXPECT_EQ(Tokenizer::deserialize(std::as_bytes(std::span(bytes))).encode(text, true), ids);
}

TEST(TextCorpus, TemplatesAreTaken) {
  for_each_file("jinja", 40, [&](const std::string& name, const std::string& text) {
    if (name != "error_syntax" && name != "error_unclosed") {
      EXPECT_NO_THROW(ChatTemplate{text});
    }
    // The others may find fault with the chat, which is odd on purpose; template_goldens.json has proper ones.
    const auto code = code_of(render, text);
    if (name.starts_with("error_")) {
      EXPECT_TRUE(code == ErrorCode::invalid_input || code == ErrorCode::resource);
    }
  });
}

TEST(TextCorpus, DamagedTemplatesAreErrors) {
  for_each_file("jinja", 40, [](const std::string&, const std::string& text) { expect_only_errors(render, text); });
}

TEST(TextCorpus, TokenizersEncode) {
  for_each_file("tokenizer", 3,
                [](const std::string&, const std::string& text) { EXPECT_EQ(code_of(encode, text), std::nullopt); });
}

TEST(TextCorpus, DamagedTokenizersAreErrors) {
  for_each_file("tokenizer", 3, [](const std::string&, const std::string& text) { expect_only_errors(encode, text); });
}

// The same for the compiled form, which engines carry.
TEST(TextCorpus, DamagedCompiledTokenizersAreErrors) {
  for_each_file("tokenizer", 3, [](const std::string&, const std::string& text) {
    const std::string compiled = Tokenizer::from_text(text.substr(0, text.find('\0'))).serialize();
    expect_only_errors(
        [](const std::string& bytes) {
          Tokenizer::deserialize(std::as_bytes(std::span(bytes))).encode("Hello 123", true);
        },
        compiled);
  });
}

// A seed is a tokenizer.model.
void encode_sentencepiece(const std::string& seed) {
  const auto file = std::as_bytes(std::span(seed));
  const Tokenizer tokenizer = Tokenizer::from_json(tokenizer_json_from_sentencepiece(file, "tokenizer.model"));
  const std::string decoded = tokenizer.decode(tokenizer.encode("ban [X]b<s>   w\xC3\xB6rld 123\n", true), false);
  EXPECT_EQ(valid_utf8_prefix(decoded), decoded.size());
}

TEST(TextCorpus, SentencePieceFilesEncode) {
  for_each_file("sentencepiece", 3, [](const std::string&, const std::string& bytes) {
    EXPECT_EQ(code_of(encode_sentencepiece, bytes), std::nullopt);
  });
}

TEST(TextCorpus, DamagedSentencePieceFilesAreErrors) {
  for_each_file("sentencepiece", 3, [](const std::string&, const std::string& bytes) {
    expect_only_errors(encode_sentencepiece, bytes);
  });
}

}  // namespace
}  // namespace lathe::text
