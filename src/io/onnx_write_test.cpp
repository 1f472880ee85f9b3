#include "io/onnx_write.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <utility>

#include "io/onnx_testing.h"
#include "tensor/source.h"

namespace lathe::io {
namespace {

using tensor::DType;
using tensor::Tensor;

OnnxModel model_of(std::vector<OnnxTensor> initializers) {
  OnnxModel model;
  model.ir_version = 10;
  model.opsets = {{"", 21}};
  model.graph.name = "g";
  model.graph.initializers = std::move(initializers);
  return model;
}

Tensor counting(tensor::Dims dims) {
  Tensor values(DType::f32, std::move(dims));
  for (int64_t i = 0; i < values.size(); ++i) values.data<float>()[size_t(i)] = float(i);
  return values;
}

TEST_F(OnnxTest, WritesSourcesThatComputeTheirRows) {
  const tensor::SourcePtr base = tensor::memory_source(counting({70, 130}), "base");
  OnnxWriteOptions options;
  options.chunk_bytes = 1000;
  options.threads = 4;
  options.data_name = "weights.bin";
  uint64_t last = 0;
  bool monotonic = true;
  options.progress = [&](const Progress& progress) {
    monotonic = monotonic && progress.done_bytes > last && progress.total_bytes == 70 * 130 * (4 + 2 + 4);
    last = progress.done_bytes;
  };
  write_onnx(
      folder_ / "m.onnx",
      model_of({OnnxTensor::of("plain", base), OnnxTensor::of("half", tensor::converted_source(base, DType::f16)),
                OnnxTensor::of("turned", tensor::transposed_source(base)), OnnxTensor::of("tied", base)}),
      options);
  EXPECT_TRUE(monotonic);
  EXPECT_EQ(last, 70 * 130 * (4 + 2 + 4));

  const auto file = OnnxFile::open(folder_ / "m.onnx");
  const auto& written = file->model().graph.initializers;
  ASSERT_EQ(written.size(), 4u);
  for (const OnnxTensor& tensor : written) {
    const auto& external = std::get<OnnxExternal>(tensor.values);
    EXPECT_EQ(external.location, "weights.bin");
    EXPECT_EQ(*external.offset % 4096, 0u);
  }
  EXPECT_EQ(std::get<OnnxExternal>(written[0].values).offset, std::get<OnnxExternal>(written[3].values).offset);
  const Tensor plain = file->load(written[0]);
  const Tensor half = file->load(written[1]);
  const Tensor turned = file->load(written[2]);
  EXPECT_THAT(turned.dims(), ::testing::ElementsAre(130, 70));
  for (int64_t row = 0; row < 70; ++row) {
    for (int64_t column = 0; column < 130; ++column) {
      const int64_t i = row * 130 + column;
      ASSERT_EQ(plain.data<float>()[size_t(i)], float(i));
      // Above 2048, f16 keeps every second or fourth integer: within half a unit in the last place.
      ASSERT_NEAR(tensor::element_as_double(half, i), double(i), i < 2048 ? 0 : i < 4096 ? 1 : i < 8192 ? 2 : 4);
      ASSERT_EQ(turned.data<float>()[size_t(column * 70 + row)], float(i));
    }
  }
}

// A source that fails half way.
class FailingSource final : public tensor::Source {
 public:
  FailingSource() : Source(DType::f32, tensor::Encoding::plain, {100, 100}, "failing") {}
  void read_rows(int64_t first, int64_t, std::span<std::byte>) const override {
    if (first > 50) fail(ErrorCode::io, "row {} is gone", first);
  }
};

TEST_F(OnnxTest, AFailedWriteLeavesTheOldFiles) {
  write_text_file(folder_ / "m.onnx", "old model");
  write_text_file(folder_ / "m.onnx_data", "old data");
  OnnxWriteOptions options;
  options.chunk_bytes = 800;
  options.threads = 2;
  const OnnxModel model = model_of({OnnxTensor::of("w", std::make_shared<FailingSource>())});
  EXPECT_EQ(code_of([&] { write_onnx(folder_ / "m.onnx", model, options); }), ErrorCode::io);
  EXPECT_EQ(read_text_file(folder_ / "m.onnx"), "old model");
  EXPECT_EQ(read_text_file(folder_ / "m.onnx_data"), "old data");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 2);
}

TEST_F(OnnxTest, WritingOverTheFilesThatAreReadWorks) {
  const fs::path path = folder_ / "m.onnx";
  write_onnx(path, model_of({OnnxTensor::of("w", counting({300, 7}))}));
  const auto first = read_bytes(folder_ / "m.onnx_data");
  write_onnx(path, OnnxFile::open(path)->model_with_sources());
  EXPECT_EQ(read_bytes(folder_ / "m.onnx_data"), first);
}

// The model says in its doc_string which weights are its own.
OnnxModel marked_model(float mark) {
  Tensor weights(DType::f32, {4096});
  std::fill_n(weights.data<float>().begin(), 4096, mark);
  OnnxModel model = model_of({OnnxTensor::of("w", std::move(weights))});
  model.doc_string = fmt::format("{}", mark);
  return model;
}

std::string mark_of(const fs::path& path) {
  const auto file = OnnxFile::open(path);
  const Tensor weights = file->load(file->model().graph.initializers.at(0));
  const std::string first = fmt::format("{}", std::as_const(weights).data<float>()[0]);
  return first == file->model().doc_string ? first : "weights of another model";
}

TEST_F(OnnxTest, AKilledReplacementLeavesAModelWithItsOwnData) {
  const fs::path path = folder_ / "m.onnx";
  OnnxWriteOptions options;
  options.threads = 1;
  write_onnx(path, marked_model(0), options);
  const auto fresh = read_bytes(path);
  std::minstd_rand random(3);
  for (int round = 0; round < 60; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int i = 1;; ++i) write_onnx(path, marked_model(float(i % 7)), options);
    }
    ASSERT_GT(child, 0);
    ::usleep(useconds_t(random() % 8000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ASSERT_NE(mark_of(path), "weights of another model") << round;
  }
  // What the killed ones left goes with the next write, and the names and bytes are those of a first one.
  write_onnx(path, marked_model(0), options);
  EXPECT_EQ(read_bytes(path), fresh);
  EXPECT_EQ(mark_of(path), "0");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 2);
}

TEST_F(OnnxTest, AnUnresolvedTensorHasNoInlineForm) {
  const fs::path path = folder_ / "m.onnx";
  write_onnx(path, marked_model(1));
  const auto file = OnnxFile::open(path);
  EXPECT_EQ(code_of([&] { serialize_onnx_tensor(file->model().graph.initializers.at(0)); }), ErrorCode::unsupported);
}

TEST_F(OnnxTest, RefusesWhatCannotBeWritten) {
  const fs::path path = folder_ / "m.onnx";
  for (const char* name : {"../data", "sub/data", "..", ".", "m.onnx", "/data"}) {
    OnnxWriteOptions options;
    options.data_name = name;
    EXPECT_EQ(code_of([&] { predict_onnx_size(path, model_of({}), options); }), ErrorCode::usage) << name;
  }
  // 18 bytes make a block of 32 values.
  const auto blocks = std::vector<std::byte>(18 * 64);
  const auto source = tensor::mapped_source(DType::f32, tensor::Encoding::q4_0, {64, 32}, blocks, nullptr, "q");
  EXPECT_EQ(code_of([&] { write_onnx(path, model_of({OnnxTensor::of("q", source)})); }), ErrorCode::unsupported);
  EXPECT_FALSE(fs::exists(path));
}

// A source of zeros of any size.
class ZeroSource final : public tensor::Source {
 public:
  explicit ZeroSource(tensor::Dims dims) : Source(DType::f32, tensor::Encoding::plain, std::move(dims), "zeros") {}
  void read_rows(int64_t, int64_t, std::span<std::byte> out) const override { std::memset(out.data(), 0, out.size()); }
};

TEST_F(OnnxTest, PredictsBeyondTwoGigabytes) {
  const auto huge = std::make_shared<ZeroSource>(tensor::Dims{int64_t{1} << 20, 1 << 11});  // 8 GiB
  const OnnxModel model = model_of({OnnxTensor::of("a", counting({1024})), OnnxTensor::of("b", huge)});
  EXPECT_EQ(predict_onnx_size("m.onnx", model).data_bytes, 4096 + (uint64_t{8} << 30));
  OnnxWriteOptions all_inline;
  all_inline.external_threshold_bytes = UINT64_MAX;
  EXPECT_EQ(code_of([&] { predict_onnx_size("m.onnx", model, all_inline); }), ErrorCode::unsupported);
}

}  // namespace
}  // namespace lathe::io
