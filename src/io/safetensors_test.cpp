#include "io/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "base/error.h"

namespace lathe::io {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::Tensor;

const std::filesystem::path kCorpus = LATHE_TESTS_DIR "/io/corpus/safetensors";

// A folder that goes with the test.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / fmt::format("lathe_st_{}_{}", ::getpid(), ++count_)) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  static inline int count_ = 0;
  std::filesystem::path path_;
};

NamedSource counting(std::string name, Dims dims, float start = 0) {
  Tensor tensor(DType::f32, std::move(dims));
  float next = start;
  for (float& value : tensor.data<float>()) value = next++;
  return {name, tensor::memory_source(std::move(tensor), name)};
}

// Runs open and gives the code of its Error.
ErrorCode code_of(const std::filesystem::path& path) {
  try {
    SafetensorsModel::open(path);
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << path << " was opened";
  return ErrorCode::internal;
}

TEST(Safetensors, ReadsWhatTheReferenceWrote) {
  const SafetensorsFile file = SafetensorsFile::open(kCorpus / "ok_types");
  EXPECT_EQ(file.tensors.size(), 14u);
  EXPECT_EQ(file.metadata.size(), 2u);
  for (const auto& [key, value] : file.metadata) EXPECT_EQ(value, key == "format" ? "pt" : "é\n");
  const std::vector<std::pair<std::string, DType>> types = {
      {"float16", DType::f16}, {"float32", DType::f32}, {"float64", DType::f64}, {"int8", DType::i8},
      {"int16", DType::i16},   {"int32", DType::i32},   {"int64", DType::i64},   {"uint8", DType::u8},
      {"uint16", DType::u16},  {"uint32", DType::u32},  {"uint64", DType::u64},  {"bool", DType::boolean}};
  for (const auto& [name, dtype] : types) {
    SCOPED_TRACE(name);
    const StoredTensor& tensor = file.tensors.get(name);
    EXPECT_EQ(tensor.dtype, dtype);
    EXPECT_EQ(tensor.dims, (Dims{2, 3}));
    const Tensor values = tensor::load(*tensor.source());
    for (int64_t i = 0; i < 6; ++i) {
      EXPECT_EQ(tensor::element_as_double(values, i), dtype == DType::boolean ? double(i > 0) : double(i));
    }
  }
  EXPECT_EQ(tensor::load(*file.tensors.get("scalar").source()).data<float>()[0], 2.5f);
  EXPECT_EQ(file.tensors.get("scalar").dims, Dims{});
  EXPECT_EQ(file.tensors.get("empty").dims, (Dims{0, 3}));
  EXPECT_EQ(file.tensors.get("float32").source()->origin(), "ok_types: float32");
  EXPECT_EQ(file.tensors.find("absent"), nullptr);
  EXPECT_THROW(file.tensors.get("absent"), Error);
}

TEST(Safetensors, WrittenFilesAreReadBack) {
  const Folder folder;
  const Tensor half = tensor::cast(Tensor::of<float>({3}, {1.5f, -2.0f, 0.25f}), DType::f16);
  const std::vector<NamedSource> written = {
      counting("b", {2, 3}),
      {"a.half", tensor::memory_source(half, "half")},
      {"mask", tensor::memory_source(Tensor::of<bool>({2}, {true, false}), "mask")},
      {"t", tensor::transposed_source(counting("", {3, 2}).source)},
      {"none", tensor::memory_source(Tensor(DType::i64, {0}), "none")},
  };
  write_safetensors(folder / "x.safetensors", written, {{"format", "pt"}});
  const SafetensorsFile file = SafetensorsFile::open(folder / "x.safetensors");
  EXPECT_EQ(file.metadata, (SafetensorsMetadata{{"format", "pt"}}));
  ASSERT_EQ(file.tensors.size(), written.size());
  for (const NamedSource& expected : written) {
    const StoredTensor& found = file.tensors.get(expected.name);
    EXPECT_EQ(found.dims, expected.source->dims());
    const Tensor values = tensor::load(*expected.source);
    EXPECT_EQ(found.dtype, values.dtype());
    EXPECT_TRUE(std::ranges::equal(found.bytes, values.bytes())) << expected.name;
    const size_t width = std::max<size_t>(size_t(tensor::bits(found.dtype)) / 8, 1);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(found.bytes.data()) % width, 0u) << expected.name << " is not aligned";
  }
  EXPECT_THROW(write_safetensors(folder / "y.safetensors", std::vector{written[0], written[0]}), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "y.safetensors"));
  EXPECT_THROW(write_safetensors(folder / "y.safetensors", std::vector{counting("\xff", {1})}), Error);
}

TEST(Safetensors, ModelOfOneFile) {
  const Folder folder;
  EXPECT_EQ(code_of(folder.path()), ErrorCode::not_found);
  EXPECT_EQ(code_of(folder / "absent.safetensors"), ErrorCode::not_found);
  write_safetensors(folder / "other.safetensors", std::vector{counting("a", {2})});
  EXPECT_EQ(SafetensorsModel::open(folder.path()).files, std::vector{folder / "other.safetensors"});
  write_safetensors(folder / "third.safetensors", std::vector{counting("a", {2})});
  EXPECT_EQ(code_of(folder.path()), ErrorCode::not_found) << "two files, neither with the usual name";
  write_safetensors(folder / "model.safetensors", std::vector{counting("a", {2})});
  EXPECT_EQ(SafetensorsModel::open(folder.path()).files, std::vector{folder / "model.safetensors"});
}

TEST(Safetensors, ModelOfShards) {
  const Folder folder;
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  write_safetensors(folder / "model-1.safetensors", std::vector{counting("a", {2}), counting("b", {3})});
  write_safetensors(folder / "model-2.safetensors", std::vector{counting("c", {4}, 7)});
  const auto with_map = [&](std::string_view map) {
    std::ofstream(index) << R"({"metadata":{"total_size":36},"weight_map":)" << map << "}";
  };
  with_map(R"({"a":"model-1.safetensors","b":"model-1.safetensors","c":"model-2.safetensors"})");
  const SafetensorsModel model = SafetensorsModel::open(folder.path());
  EXPECT_EQ(model.files, (std::vector{folder / "model-1.safetensors", folder / "model-2.safetensors"}));
  EXPECT_EQ(model.tensors.size(), 3u);
  EXPECT_EQ(tensor::load(*model.tensors.get("c").source()).data<float>()[3], 10.0f);
  EXPECT_EQ(model.tensors.byte_size(), 36u);
  EXPECT_EQ(SafetensorsModel::open(index).tensors.size(), 3u);

  with_map(R"({"a":"model-1.safetensors","c":"model-2.safetensors"})");
  EXPECT_EQ(SafetensorsModel::open(index).tensors.size(), 3u) << "a tensor that the index leaves out";
  with_map(R"({"a":"model-2.safetensors","b":"model-1.safetensors","c":"model-2.safetensors"})");
  EXPECT_EQ(code_of(index), ErrorCode::invalid_input) << "wrong shard";
  with_map(R"({"a":"model-1.safetensors","d":"model-1.safetensors"})");
  EXPECT_EQ(code_of(index), ErrorCode::invalid_input) << "missing tensor";
  with_map(R"({"a":"model-1.safetensors","c":"model-3.safetensors"})");
  EXPECT_EQ(code_of(index), ErrorCode::not_found) << "missing shard";
  std::filesystem::copy(folder / "model-1.safetensors", folder / "model-3.safetensors");
  EXPECT_EQ(code_of(index), ErrorCode::invalid_input) << "missing tensor";
  with_map(R"({"a":"model-1.safetensors","b":"model-3.safetensors"})");
  EXPECT_EQ(code_of(index), ErrorCode::invalid_input) << "a tensor in two shards";
  for (const std::string_view name : {"../model-1.safetensors", "/etc/passwd", "..", "", "a\\\\b", "a\\u0000b"}) {
    with_map(fmt::format(R"({{"a":"{}"}})", name));
    EXPECT_EQ(code_of(index), ErrorCode::invalid_input) << name;
  }
  for (const std::string_view map :
       {"{}", "[]", "3", R"({"a":1})", R"({"a":null})", R"({"a":["model-1.safetensors"]})",
        R"({"a":{"b":"model-1.safetensors"}})", R"("model-1.safetensors")", R"({"a":"model-1.safetensors")",
        R"({"a":"model-1.safetensors","a":"model-1.safetensors"})",
        R"({"a":"model-1.safetensors"},"weight_map":{"b":"model-1.safetensors"})"}) {
    with_map(map);
    EXPECT_EQ(code_of(index), ErrorCode::invalid_input) << map;
  }
  for (const std::string_view text : {"", "[]", "3", "{}", R"({"metadata":{"weight_map":{"a":"b"}}})",
                                      R"([{"weight_map":{"a":"model-1.safetensors"}}])"}) {
    std::ofstream(index) << text;
    EXPECT_EQ(code_of(index), ErrorCode::invalid_input) << text;
  }
  // What stands beside the map is not looked at, whatever its form; the map may come first.
  std::ofstream(index) << R"({"weight_map":{"a":"model-1.safetensors"},"metadata":{"x":[{"weight_map":1}],"y":null}})";
  EXPECT_EQ(SafetensorsModel::open(index).tensors.size(), 2u);
}

TEST(Safetensors, ALargeIndexIsReadInLinearTime) {
  const Folder folder;
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  write_safetensors(folder / "m.safetensors", std::vector{counting("a", {2})});
  {
    std::ofstream file(index);
    file << R"({"weight_map":{"a":"m.safetensors")";
    for (int i = 0; i < 300'000; ++i) file << fmt::format(R"(,"model.layers.{}":"m.safetensors")", i);
    file << "}}";
  }
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(code_of(index), ErrorCode::invalid_input) << "missing tensors";
  // A fraction of a second; minutes if names were searched one by one.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace lathe::io
