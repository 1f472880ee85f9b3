// Files of torch.save are read to the values that torch saved (tests/io/corpus/torch, tools/make_torch_corpus.py).
#include "io/torch_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "io/tensor_file.h"

namespace lathe::io {
namespace {

namespace fs = std::filesystem;

const fs::path kCorpus = LATHE_TESTS_DIR "/io/corpus/torch";

std::map<std::string, tensor::SourcePtr> tensors_of(const TorchFile& file) {
  std::map<std::string, tensor::SourcePtr> tensors;
  for (const NamedSource& tensor : file.tensors) tensors.emplace(tensor.name, tensor.source);
  return tensors;
}

std::vector<float> floats_of(const tensor::SourcePtr& source) {
  std::vector<float> values(size_t(tensor::element_count(source->dims())));
  source->read_rows_f32(0, source->rows(), values);
  return values;
}

using Dims = tensor::Dims;
using Floats = std::vector<float>;

class TorchViews : public testing::TestWithParam<const char*> {};

// The old form and the new one.
TEST_P(TorchViews, AreReadInTheirOrder) {
  const auto tensors = tensors_of(TorchFile::open(kCorpus / GetParam()));
  const auto expect = [&](const char* name, const Dims& dims, const Floats& values) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(tensors.contains(name));
    EXPECT_EQ(tensors.at(name)->dims(), dims);
    EXPECT_EQ(floats_of(tensors.at(name)), values);
  };
  EXPECT_EQ(tensors.size(), 10u);
  EXPECT_EQ(floats_of(tensors.at("whole"))[23], 23);
  EXPECT_TRUE(tensors.at("whole")->contiguous());
  expect("transposed", {6, 4}, {0, 6, 12, 18, 1, 7, 13, 19, 2, 8, 14, 20, 3, 9, 15, 21, 4, 10, 16, 22, 5, 11, 17, 23});
  expect("rows", {2, 6}, {6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17});
  EXPECT_TRUE(tensors.at("rows")->contiguous());
  expect("columns", {4, 3}, {2, 3, 4, 8, 9, 10, 14, 15, 16, 20, 21, 22});
  expect("steps", {2, 2}, {0, 3, 12, 15});
  expect("permuted", {4, 2, 3}, {0, 4, 8, 12, 16, 20, 1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22, 3, 7, 11, 15, 19, 23});
  expect("scalar", {}, {2.5});
  expect("empty", {0, 3}, {});
  expect("one", {}, {23});
  expect("channels_last", {1, 2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  // Parts of rows too.
  std::vector<std::byte> part(2 * 2 * sizeof(float));
  tensors.at("columns")->read_part(1, 2, 1, 2, part);
  const auto* floats = reinterpret_cast<const float*>(part.data());
  EXPECT_EQ(Floats(floats, floats + 4), (Floats{9, 10, 15, 16}));
}

INSTANTIATE_TEST_SUITE_P(Torch, TorchViews, testing::Values("ok_views", "ok_legacy"),
                         [](const auto& test) { return std::string(test.param); });

TEST(TorchTypes, AreTheirs) {
  const auto tensors = tensors_of(TorchFile::open(kCorpus / "ok_types"));
  EXPECT_EQ(tensors.size(), 16u);
  for (const char* name : {"float32", "float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(floats_of(tensors.at(name)), (Floats{0, 1, 2, 3, 4, 5}));
  }
  const tensor::Tensor longs = tensor::load(*tensors.at("int64"));
  EXPECT_EQ(longs.data<int64_t>()[5], 5);
  const tensor::Tensor shorts = tensor::load(*tensors.at("uint16"));
  EXPECT_EQ(shorts.data<uint16_t>()[5], 5);
  EXPECT_EQ(tensors.at("bool")->dtype(), tensor::DType::boolean);
  EXPECT_EQ(tensors.at("complex64")->dtype(), tensor::DType::c64);
}

// The weights of a training checkpoint, not its optimiser's states.
TEST(TorchTraining, OnlyTheStateDictCounts) {
  for (const char* name : {"ok_training", "ok_legacy_training"}) {
    SCOPED_TRACE(name);
    const TorchFile file = TorchFile::open(kCorpus / name);
    const auto tensors = tensors_of(file);
    ASSERT_EQ(tensors.size(), 2u);
    EXPECT_EQ(floats_of(tensors.at("weight")), (Floats{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(floats_of(tensors.at("bias")), (Floats{0, 1}));
    ASSERT_EQ(file.texts.size(), 1u);
    EXPECT_EQ(file.texts[0].second, "trained");
  }
}

std::string refusal(const char* name) {
  try {
    TorchFile::open(kCorpus / name);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TorchPickles, WhatTheyAskForIsNamed) {
  EXPECT_NE(refusal("bad_os_system").find("posix.system"), std::string::npos) << refusal("bad_os_system");
  EXPECT_NE(refusal("bad_eval").find("__builtin__.eval"), std::string::npos) << refusal("bad_eval");
  EXPECT_NE(refusal("bad_getattr").find("getattr"), std::string::npos);
  EXPECT_NE(refusal("bad_legacy_os_system").find("posix.system"), std::string::npos);
  EXPECT_NE(refusal("bad_sparse").find("sparse"), std::string::npos);
  EXPECT_NE(refusal("bad_quantized").find("torch.QInt8Storage are not read"), std::string::npos);
  EXPECT_NE(refusal("bad_opcode").find("opcode 0xff"), std::string::npos);
  EXPECT_NE(refusal("bad_compressed").find("archive/data.pkl\" is compressed"), std::string::npos);
}

// A folder of shards that torch wrote.
class TorchShards : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "torch_shards";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    fs::copy(kCorpus / "ok_state_dict", folder_ / "pytorch_model-00001-of-00002.bin");
    fs::copy(kCorpus / "ok_by_hand", folder_ / "pytorch_model-00002-of-00002.bin");
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write_index(const std::string& of_a) {
    std::ofstream(folder_ / "pytorch_model.bin.index.json")
        << R"({"weight_map":{"weight":"pytorch_model-00001-of-00002.bin","a":")" << of_a << "\"}}";
  }
  fs::path folder_;
};

TEST_F(TorchShards, AreOneModel) {
  write_index("pytorch_model-00002-of-00002.bin");
  const fs::path index = find_weight_file(folder_, "model", "pytorch_model", "");
  EXPECT_EQ(index.filename(), "pytorch_model.bin.index.json");
  const TensorFile model = TensorFile::open(index);
  EXPECT_EQ(model.tensors.size(), 3u);
  EXPECT_EQ(model.files.size(), 2u);
  ASSERT_TRUE(model.find("a"));
  EXPECT_EQ(floats_of(model.find("weight")), (Floats{0, 1, 2, 3, 4, 5}));
  EXPECT_FALSE(model.find("b"));
}

TEST_F(TorchShards, MustBeWhereTheIndexSays) {
  write_index("pytorch_model-00001-of-00002.bin");
  EXPECT_THROW(TensorFile::open(folder_ / "pytorch_model.bin.index.json"), Error);
  write_index("../pytorch_model-00002-of-00002.bin");
  EXPECT_THROW(TensorFile::open(folder_ / "pytorch_model.bin.index.json"), Error);
}

}  // namespace
}  // namespace lathe::io
