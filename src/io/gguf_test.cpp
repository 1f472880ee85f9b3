#include "io/gguf.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "io/gguf_types.h"
#include "io/gguf_writer.h"

namespace lathe::io {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::Encoding;
using tensor::Tensor;

const std::filesystem::path kCorpus = LATHE_TESTS_DIR "/io/corpus/gguf";

std::filesystem::path temporary(std::string_view name) {
  return std::filesystem::temp_directory_path() / fmt::format("lathe_gguf_{}_{}", ::getpid(), name);
}

NamedSource counting(std::string name, Dims dims) {
  Tensor tensor(DType::f32, std::move(dims));
  float next = 0;
  for (float& value : tensor.data<float>()) value = next++;
  return {name, tensor::memory_source(std::move(tensor), name)};
}

ErrorCode code_of(const std::filesystem::path& path) {
  try {
    GgufModel::open(path);
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << path << " was opened";
  return ErrorCode::internal;
}

TEST(Gguf, ReadsWhatTheReferenceWrote) {
  const GgufFile file = GgufFile::open(kCorpus / "ok_reference");
  const GgufMetadata& metadata = file.metadata;
  EXPECT_EQ(file.version, 3u);
  EXPECT_EQ(metadata.get_string("general.architecture"), "llama");
  EXPECT_EQ(metadata.get_int("llama.block_count"), 2);
  for (const std::string width : {"8", "16", "32", "64"}) {
    EXPECT_EQ(metadata.get_int("test.uint" + width), 7);
    EXPECT_EQ(metadata.get_int("test.int" + width), -7);
  }
  EXPECT_EQ(metadata.get_float("test.float32"), 0.5);
  EXPECT_EQ(metadata.get_float("test.float64"), 0.1);
  EXPECT_TRUE(metadata.get_bool("test.bool"));
  const auto strings = metadata.get_strings("test.strings");
  EXPECT_EQ(std::vector<std::string>(strings.begin(), strings.end()),
            (std::vector<std::string>{"a", "", "Ġb", "ccc"}));
  EXPECT_EQ(metadata.get_ints("test.ints"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(metadata.get_floats("test.floats"), (std::vector<float>{0.5f, -1.5f}));
  EXPECT_EQ(metadata.get_bools("test.bools"), (std::vector<bool>{true, false}));
  const auto nested = metadata.get("test.nested").as_arrays();
  ASSERT_EQ(nested.size(), 2u);
  EXPECT_EQ(nested[0].as_ints(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(nested[1].as_ints(), (std::vector<int64_t>{3}));

  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.tensors.get("f32").dims, (Dims{2, 3}));
  EXPECT_EQ(tensor::to_floats(tensor::load(*file.tensors.get("f32").source())),
            (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(tensor::to_floats(tensor::load(*file.tensors.get("f16").source())),
            (std::vector<float>{0, 1, 2, 3}));
  const StoredTensor& q8 = file.tensors.get("q8_0");
  EXPECT_EQ(q8.dims, (Dims{2, 64}));
  EXPECT_EQ(q8.encoding, Encoding::q8_0);
  const std::vector<float> values = tensor::to_floats(tensor::load(*q8.source()));
  for (int i = 0; i < 128; ++i) EXPECT_NEAR(values[size_t(i)], float(i - 64), 0.3f);
}

TEST(Gguf, AccessorsSayWhatTheyExpected) {
  const GgufFile file = GgufFile::open(kCorpus / "ok_reference");
  const GgufMetadata& metadata = file.metadata;
  EXPECT_EQ(metadata.find_int("absent"), std::nullopt);
  EXPECT_EQ(metadata.find("absent"), nullptr);
  EXPECT_THROW(metadata.get_int("absent"), Error);
  EXPECT_THROW(metadata.find_int("test.float32"), Error);
  EXPECT_THROW(metadata.find_int("test.bool"), Error);
  EXPECT_THROW(metadata.find_int("test.ints"), Error);
  EXPECT_THROW(metadata.find_float("test.int8"), Error);
  EXPECT_THROW(metadata.find_string("test.strings"), Error);
  EXPECT_THROW(metadata.find_strings("general.architecture"), Error);
  EXPECT_THROW(metadata.find_ints("test.floats"), Error);
  EXPECT_THROW(metadata.find_floats("test.ints"), Error);
  try {
    metadata.find_int("test.strings");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_NE(error.message().find("array of string"), std::string::npos) << error.message();
  }
}

TEST(Gguf, RefusesWhatItCannotRead) {
  for (const std::string name : {"bad_big_endian", "bad_version_1", "bad_removed_type"}) {
    EXPECT_EQ(code_of(kCorpus / name), ErrorCode::unsupported) << name;
  }
  EXPECT_EQ(code_of(kCorpus / "absent"), ErrorCode::not_found);
}

TEST(Gguf, TypeNumbersAreInverse) {
  int types = 0;
  for (uint32_t number = 0; number < 64; ++number) {
    try {
      const GgufTensorType type = gguf_tensor_type(number);
      EXPECT_EQ(gguf_type_number(type.dtype, type.encoding), number);
      ++types;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
    }
  }
  EXPECT_EQ(types, 35);  // 27 block formats, 3 floats of 16 and 32 bits, f64, 4 integers
}

TEST(Gguf, WrittenFilesAreReadBack) {
  for (const uint32_t alignment : {8u, 32u, 4096u}) {
    const std::filesystem::path path = temporary("written.gguf");
    const std::vector<std::byte> blocks(2 * 34, std::byte{0x12});
    const std::vector<NamedSource> tensors = {
        counting("a", {2, 3}),
        {"b", tensor::mapped_source(DType::f32, Encoding::q8_0, {2, 32}, blocks, nullptr, "b")},
        {"c", tensor::memory_source(Tensor(DType::bf16, {5}), "c")},
        {"d", tensor::transposed_source(counting("", {4, 2}).source)},
    };
    GgufWriter writer(alignment);
    writer.set("s", "text")
        .set("u8", uint8_t{255})
        .set("i64", INT64_MIN)
        .set("u64", UINT64_MAX)
        .set("f", 0.25f);
    writer.set("d", 0.1).set("b", true).set_array("strings", std::vector<std::string>{"x", "", "yz"});
    writer.set_array("ints", std::vector<int32_t>{-1, 2}).set_array("empty", std::vector<float>{});
    EXPECT_THROW(writer.set("s", "again"), Error);
    writer.write(path, tensors);

    const GgufModel model = GgufModel::open(path);
    EXPECT_EQ(model.first.alignment, alignment);
    const GgufMetadata& metadata = model.first.metadata;
    EXPECT_EQ(metadata.get_string("s"), "text");
    EXPECT_EQ(metadata.get_int("u8"), 255);
    EXPECT_EQ(metadata.get_int("i64"), INT64_MIN);
    EXPECT_THROW(metadata.get_int("u64"), Error);
    EXPECT_EQ(metadata.get_float("f"), 0.25);
    EXPECT_EQ(metadata.get_float("d"), 0.1);
    EXPECT_TRUE(metadata.get_bool("b"));
    EXPECT_EQ(metadata.get_strings("strings").size(), 3u);
    EXPECT_EQ(metadata.get_ints("ints"), (std::vector<int64_t>{-1, 2}));
    EXPECT_TRUE(metadata.get_floats("empty").empty());
    EXPECT_TRUE(metadata.get_strings("empty").empty());
    ASSERT_EQ(model.tensors.size(), tensors.size());
    for (const NamedSource& expected : tensors) {
      const StoredTensor& found = model.tensors.get(expected.name);
      EXPECT_EQ(found.dims, expected.source->dims());
      EXPECT_EQ(found.encoding, expected.source->encoding());
      std::vector<std::byte> bytes(expected.source->byte_size());
      expected.source->read_rows(0, expected.source->rows(), bytes);
      EXPECT_TRUE(std::ranges::equal(found.bytes, bytes)) << expected.name;
    }
    std::filesystem::remove(path);
  }
}

TEST(Gguf, SplitsAreOpenedTogether) {
  const auto path_of = [](int number) { return temporary(fmt::format("split-{:05}-of-00002.gguf", number)); };
  const auto write = [&](int index, std::string name, int32_t total = 2) {
    GgufWriter writer;
    writer.set("split.no", uint16_t(index)).set("split.count", uint16_t{2}).set("split.tensors.count", total);
    writer.set("which", index);
    writer.write(path_of(index + 1), std::vector{counting(std::move(name), {2})});
  };
  write(0, "a");
  write(1, "b");
  for (const int opened : {1, 2}) {
    const GgufModel model = GgufModel::open(path_of(opened));
    EXPECT_EQ(model.first.metadata.get_int("which"), 0);
    EXPECT_EQ(model.files, (std::vector{path_of(1), path_of(2)}));
    EXPECT_EQ(model.tensors.size(), 2u);
    EXPECT_EQ(tensor::load(*model.tensors.get("b").source()).data<float>()[1], 1.0f);
  }
  write(1, "a");
  EXPECT_EQ(code_of(path_of(1)), ErrorCode::invalid_input) << "a tensor in two splits";
  write(0, "a", 3);
  write(1, "b");
  EXPECT_EQ(code_of(path_of(1)), ErrorCode::invalid_input) << "wrong number of tensors";
  std::filesystem::copy(path_of(1), path_of(2), std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(code_of(path_of(1)), ErrorCode::invalid_input) << "a split under another number";
  std::filesystem::remove(path_of(2));
  EXPECT_EQ(code_of(path_of(1)), ErrorCode::not_found);
  std::filesystem::rename(path_of(1), temporary("renamed.gguf"));
  EXPECT_EQ(code_of(temporary("renamed.gguf")), ErrorCode::invalid_input);
  std::filesystem::remove(temporary("renamed.gguf"));
}

}  // namespace
}  // namespace lathe::io
