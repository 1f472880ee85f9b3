// Exported, read back and run by our own executor, a model still gives the logits of transformers: in fp32 to
// rounding, in bf16 (which ONNX Runtime's CPU provider cannot multiply) within bf16's band.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "frontend/decoder.h"
#include "frontend/onnx_export.h"
#include "frontend/onnx_import.h"
#include "io/npy.h"
#include "io/onnx.h"
#include "io/onnx_write.h"
#include "verify/arch_cases.h"
#include "verify/bands.h"
#include "verify/compare.h"

namespace lathe::verify {
namespace {

namespace fs = std::filesystem;
using tensor::DType;
using tensor::Tensor;

class OnnxRoundTrip : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = fs::path(LATHE_TESTS_DIR) / "arch" / GetParam();
    prompt_ = read_json_file(folder_ / "golden.json").at("prompt").get<std::vector<int64_t>>();
    expected_ = tensor::to_floats(io::read_npy(folder_ / "logits.npy"));
    work_ = fs::temp_directory_path() / fmt::format("lathe_round_trip_{}_{}", GetParam(), ::getpid());
    fs::create_directory(work_);
  }
  void TearDown() override { fs::remove_all(work_); }

  // Logits of the prompt, [positions * vocabulary].
  std::vector<float> exported_logits(DType dtype, int opset) const {
    const fs::path gguf = folder_ / "model.gguf";
    const auto checkpoint = frontend::Checkpoint::open(fs::exists(gguf) ? gguf : folder_);
    const ir::Model model = frontend::build_decoder(checkpoint, dtype);
    frontend::OnnxExportOptions options;
    options.opset = opset;
    const fs::path path = work_ / fmt::format("{}_{}.onnx", to_string(dtype), opset);
    io::write_onnx(path, frontend::export_decoder(model, options, {}), {});
    const ir::Graph graph = frontend::import_onnx(io::OnnxFile::open(path));
    return tensor::to_floats(ir::evaluate(graph, inputs_of(graph)).at("logits"));
  }

 private:
  std::map<std::string, Tensor> inputs_of(const ir::Graph& graph) const {
    const auto count = int64_t(prompt_.size());
    std::vector<int64_t> ones(prompt_.size(), 1), positions(prompt_.size());
    for (size_t i = 0; i < positions.size(); ++i) positions[i] = int64_t(i);
    const auto row = [&](const std::vector<int64_t>& values) {
      return Tensor::of<int64_t>({1, count}, std::span<const int64_t>(values));
    };
    std::map<std::string, Tensor> inputs;
    for (const ir::Value input : graph.inputs()) {
      const std::string& name = graph.name(input);
      const op::TypeInfo& type = graph.type(input);
      inputs[name] = name == "input_ids"        ? row(prompt_)
                     : name == "attention_mask" ? row(ones)
                     : name == "position_ids"
                         ? row(positions)
                         : Tensor(type.dtype, {1, type.shape.at(1).value(), 0, type.shape.at(3).value()});
    }
    return inputs;
  }

  fs::path folder_, work_;

 protected:
  std::vector<int64_t> prompt_;
  std::vector<float> expected_;
};

TEST_P(OnnxRoundTrip, InFp32) {
  for (const int opset : {13, 18, 24}) {
    const auto found = exported_logits(DType::f32, opset);
    ASSERT_EQ(found.size(), expected_.size());
    EXPECT_LE(compare(expected_, found).relative(kFloor), 1e-5) << "opset " << opset;
  }
}

TEST_P(OnnxRoundTrip, InBf16) {
  for (const int opset : {18, 24}) {
    const auto found = exported_logits(DType::bf16, opset);
    ASSERT_EQ(found.size(), expected_.size());
    const size_t vocabulary = expected_.size() / prompt_.size();
    LogitComparison comparison;
    for (size_t i = 0; i < expected_.size(); i += vocabulary) {
      comparison.add(std::span(expected_).subspan(i, vocabulary), std::span(found).subspan(i, vocabulary));
    }
    EXPECT_LE(comparison.stats().mean_kl, band_of("bf16").mean_kl) << "opset " << opset;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, OnnxRoundTrip, testing::ValuesIn(arch_cases()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace lathe::verify
