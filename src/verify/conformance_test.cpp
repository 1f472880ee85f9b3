// What counts as a passed conformance test, on folders made here.
#include "verify/conformance.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "io/onnx_write.h"
#include "verify/tensor_difference.h"

namespace lathe::verify {
namespace {

namespace fs = std::filesystem;
using tensor::Tensor;

io::OnnxValueInfo value(std::string name) {
  io::OnnxValueInfo info;
  info.name = std::move(name);
  io::OnnxType& type = info.type.emplace();
  type.kind = io::OnnxType::Kind::tensor;
  type.elem_type = int32_t(tensor::DType::f32);
  type.shape.emplace().push_back({int64_t{2}, ""});
  return info;
}

class Conformance : public testing::Test {
 protected:
  Conformance() : folder_(fs::temp_directory_path() / fmt::format("lathe_conformance_{}", ::getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "test_neg/test_data_set_0");
    io::OnnxModel model;
    model.ir_version = 8;
    model.opsets = {{"", 13}};
    model.graph.inputs = {value("x")};
    model.graph.outputs = {value("y")};
    model.graph.nodes.emplace_back();
    model.graph.nodes[0].op_type = "Neg";
    model.graph.nodes[0].inputs = {"x"};
    model.graph.nodes[0].outputs = {"y"};
    io::write_onnx(folder_ / "test_neg/model.onnx", model);
    write("test_neg/test_data_set_0/input_0.pb", Tensor::of<float>({2}, {1, 2}));
  }
  ~Conformance() override { fs::remove_all(folder_); }

  void write(const std::string& path, const Tensor& tensor) const {
    const auto bytes = io::serialize_onnx_tensor(io::OnnxTensor::of("", tensor));
    write_text_file(folder_ / path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  ConformanceResult run(const Tensor& expected) const {
    write("test_neg/test_data_set_0/output_0.pb", expected);
    return run_conformance_test(folder_ / "test_neg");
  }

  fs::path folder_;
};

TEST_F(Conformance, ExactTypeShapeAndValuePass) {
  const ConformanceResult result = run(Tensor::of<float>({2}, {-1, -2}));
  EXPECT_TRUE(result.passed) << result.reason;
  EXPECT_EQ(result.name, "test_neg");
  EXPECT_EQ(result.opset, 13);
  EXPECT_EQ(result.operators, (std::set<std::string>{"Neg"}));
}

TEST_F(Conformance, AnythingElseFailsWithAReason) {
  for (const Tensor& expected : {Tensor::of<float>({2}, {-1, -2.01f}), Tensor::of<float>({1, 2}, {-1, -2}),
                                 Tensor::of<double>({2}, {-1, -2}), Tensor::of<float>({2}, {-1, NAN})}) {
    const ConformanceResult result = run(expected);
    EXPECT_FALSE(result.passed);
    EXPECT_FALSE(result.reason.empty());
  }
}

TEST_F(Conformance, TheFoldersOwnToleranceCounts) {
  write_text_file(folder_ / "test_neg/data.json", R"({"rtol": 0.1, "atol": 0})");
  EXPECT_TRUE(run(Tensor::of<float>({2}, {-1, -2.01f})).passed);
}

TEST_F(Conformance, TestsAreFoundBelowTheFolder) {
  EXPECT_EQ(find_conformance_tests(folder_).size(), 1u);
  EXPECT_EQ(find_conformance_tests(folder_ / "test_neg").size(), 1u);
  EXPECT_THROW(find_conformance_tests(folder_ / "test_neg/test_data_set_0"), Error);
  // Without data sets there is nothing to hold the model to.
  fs::remove_all(folder_ / "test_neg/test_data_set_0");
  EXPECT_FALSE(run_conformance_test(folder_ / "test_neg").passed);
}

TEST(Difference, IntegersBeyondDoublesPrecisionDiffer) {
  const int64_t large = int64_t{1} << 62;
  EXPECT_TRUE(find_difference(Tensor::scalar(large), Tensor::scalar(large + 1), {}));
  EXPECT_FALSE(find_difference(Tensor::scalar(large), Tensor::scalar(large), {}));
  EXPECT_TRUE(find_difference(Tensor::scalar(INFINITY), Tensor::scalar(-INFINITY), {1, 1}));
  EXPECT_FALSE(find_difference(Tensor::scalar(NAN), Tensor::scalar(NAN), {}));
}

}  // namespace
}  // namespace lathe::verify
