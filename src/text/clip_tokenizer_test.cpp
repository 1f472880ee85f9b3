// CLIP's tokenizer from the files of a diffusers folder is transformers' (tools/make_clip_tokenizer_goldens.py).
#include "text/clip_tokenizer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"

namespace lathe::text {
namespace {

const std::filesystem::path kData = std::filesystem::path(LATHE_TESTS_DIR) / "text";

std::string text_of(const Json& json) {
  return json.is_null() ? std::string() : json.dump();
}

TEST(ClipTokenizer, FoldersAsTransformersReadsThem) {
  const Json golden = read_json_file(kData / "clip_folders.json");
  const std::string vocab = read_text_file(kData / "clip/vocab.json"),
                    merges = read_text_file(kData / "clip/merges.txt");
  for (const Json& row : golden["cases"]) {
    SCOPED_TRACE(row["name"].dump());
    ClipTokenizerFiles files{
        vocab, merges, text_of(row["files"][0]), text_of(row["files"][1]), text_of(row["files"][2]), {}};
    const ClipTokenizer clip = make_clip_tokenizer(files);
    EXPECT_EQ(clip.bos_id, row["bos"].get<int32_t>());
    EXPECT_EQ(clip.eos_id, row["eos"].get<int32_t>());
    EXPECT_EQ(clip.pad_id, row["pad"].get<int32_t>());
    EXPECT_EQ(clip.max_length ? Json(*clip.max_length) : Json(nullptr), row["max_length"]);
    EXPECT_EQ(clip.tokenizer.vocab_size(), row["vocab_size"].get<size_t>());
    for (size_t i = 0; i < row["ids"].size(); ++i) {
      SCOPED_TRACE(golden["texts"][i].dump());
      EXPECT_EQ(clip.tokenizer.encode(golden["texts"][i].get<std::string>(), true),
                row["ids"][i].get<std::vector<int32_t>>());
    }
    // The file that is built is one that this program reads, too.
    files.tokenizer = clip_tokenizer_json(files);
    EXPECT_EQ(make_clip_tokenizer(files).pad_id, clip.pad_id);
  }
}

TEST(ClipTokenizer, DecodesToWords) {
  const ClipTokenizer clip = make_clip_tokenizer(read_clip_tokenizer_files(kData / "clip"));
  const std::vector<int32_t> ids = clip.tokenizer.encode("The  Quick fox", false);
  EXPECT_EQ(clip.tokenizer.decode(ids, true), "the quick fox ");
}

TEST(ClipTokenizer, BadFilesAreRefused) {
  const std::string vocab = read_text_file(kData / "clip/vocab.json");
  const auto code = [](const ClipTokenizerFiles& files) {
    try {
      make_clip_tokenizer(files);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  EXPECT_EQ(code({"[]", "a b", "", "", "", ""}), ErrorCode::invalid_input);
  EXPECT_EQ(code({"{\"a\": 0}", "a b c", "", "", "", ""}), ErrorCode::invalid_input);
  EXPECT_EQ(code({vocab, "no-such-token x", "", "", "", ""}), ErrorCode::invalid_input);
  EXPECT_EQ(code({vocab, "", "[]", "", "", ""}), ErrorCode::invalid_input);
  EXPECT_EQ(code({vocab, "", "{\"pad_token\": 3}", "", "", ""}), ErrorCode::invalid_input);
  EXPECT_EQ(code({vocab, "", "", "{\"model_max_length\": 1}", "", ""}), ErrorCode::invalid_input);
  EXPECT_EQ(code({vocab + "}, \"merges\": [", "", "", "", "", ""}), ErrorCode::invalid_input);
  EXPECT_THROW(read_clip_tokenizer_files(kData), Error);
}

// Concepts are added to either form of the files alike (tests/pictures/embeddings compares the second with diffusers).
TEST(ClipTokenizer, AddedConcepts) {
  ClipTokenizerFiles plain;
  plain.vocab = read_text_file(kData / "clip/vocab.json");
  plain.merges = read_text_file(kData / "clip/merges.txt");
  ClipTokenizerFiles ready;
  ready.tokenizer = clip_tokenizer_json(plain);
  const int32_t first = make_clip_tokenizer(plain).tokenizer.id_limit();
  for (ClipTokenizerFiles* files : {&plain, &ready}) {
    SCOPED_TRACE(files == &plain ? "vocab.json" : "tokenizer.json");
    add_clip_tokens(*files, {"<Cat>", "<Cat>_1", "<Cat>_2"});
    add_clip_tokens(*files, {"dog style"});
    const ClipTokenizer clip = make_clip_tokenizer(*files);
    EXPECT_EQ(clip.encode("<cat>"), (std::vector<int32_t>{first, first + 1, first + 2}));
    EXPECT_EQ(clip.encode("Dog style"), (std::vector<int32_t>{first + 3}));
    // Found inside of words: what stands around it is read as if alone.
    std::vector<int32_t> expected = clip.encode("red");
    const std::vector<int32_t> concept_ids = clip.encode("<Cat>"), blue = clip.encode("blue");
    expected.insert(expected.end(), concept_ids.begin(), concept_ids.end());
    expected.insert(expected.end(), blue.begin(), blue.end());
    EXPECT_EQ(clip.encode("red<CAT>blue"), expected);
    EXPECT_THROW(add_clip_tokens(*files, {"<Cat>"}), Error);
    EXPECT_THROW(add_clip_tokens(*files, {""}), Error);
  }
}

}  // namespace
}  // namespace lathe::text
