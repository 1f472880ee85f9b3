// Operators on pictures, where ONNX's own tests do not look: what is refused, hostile values, symbols, other dtypes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "op/op.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;
using tensor::Tensor;
using Ints = std::vector<int64_t>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// 1, 2, 3 ...
Tensor counting(tensor::Dims dims, DType dtype = DType::f32) {
  std::vector<double> values(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  for (size_t i = 0; i < values.size(); ++i) values[i] = double(i + 1);
  return store(dtype, std::move(dims), values);
}

Tensor reals(tensor::Dims dims, const std::vector<double>& values, DType dtype = DType::f32) {
  return store(dtype, std::move(dims), values);
}

Tensor ints(const Ints& values) {
  return store(DType::i64, {int64_t(values.size())}, values);
}

std::vector<Tensor> run_all(std::string_view op, std::vector<Tensor> inputs, const Attributes& attributes = {},
                            size_t outputs = 1) {
  return evaluate(get_op(op), std::move(inputs), attributes, outputs);
}

Tensor run(std::string_view op, std::vector<Tensor> inputs, const Attributes& attributes = {}) {
  return run_all(op, std::move(inputs), attributes)[0];
}

void expect_refused(std::string_view op, const std::vector<Tensor>& inputs, const Attributes& attributes = {},
                    size_t outputs = 1) {
  try {
    run_all(op, inputs, attributes, outputs);
    ADD_FAILURE() << op << " was computed";
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::resource) << error.what();
  }
}

tensor::Shape infer_shape(std::string_view op, std::vector<tensor::Shape> shapes, const Attributes& attributes) {
  std::vector<TypeInfo> types;
  for (tensor::Shape& shape : shapes) types.push_back({DType::f32, std::move(shape), std::nullopt});
  InferContext context{.op = op, .attributes = attributes, .inputs = {}, .constants = {}, .outputs = {}};
  context.unique_name = "n1";
  for (const TypeInfo& type : types) context.inputs.push_back(&type);
  context.constants.resize(types.size());
  context.outputs.resize(1);
  get_op(op).infer(context);
  return context.outputs[0].shape;
}

TEST(Conv, ShapesThatDoNotFitAreRefused) {
  const Tensor x = counting({1, 2, 4, 4});
  const Tensor w = counting({2, 2, 3, 3});
  expect_refused("Conv", {x, counting({2, 3, 3, 3})});
  expect_refused("Conv", {x, counting({2, 2, 3})});
  expect_refused("Conv", {x, w, counting({3})});
  expect_refused("Conv", {x, counting({3, 1, 3, 3})}, {{"group", int64_t{2}}});
  expect_refused("Conv", {x, w}, {{"group", int64_t{0}}});
  expect_refused("Conv", {x, w}, {{"kernel_shape", Ints{3, 2}}});
  expect_refused("Conv", {x, w}, {{"strides", Ints{1, 0}}});
  expect_refused("Conv", {x, w}, {{"pads", Ints{1, 1}}});
  expect_refused("Conv", {x, w}, {{"pads", Ints{0, 0, -1, 0}}});
  expect_refused("Conv", {x, w}, {{"dilations", Ints{INT64_MAX, 1}}});
  expect_refused("Conv", {x, w}, {{"dilations", Ints{INT32_MAX, 1}}});
  expect_refused("Conv", {x, w}, {{"pads", Ints{INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX}}});
  expect_refused("Conv", {x, w}, {{"auto_pad", std::string("BOTH")}});
  expect_refused("ConvTranspose", {x, w}, {{"output_padding", Ints{1, 1}}});
  expect_refused("ConvTranspose", {x, w}, {{"strides", Ints{INT32_MAX, INT32_MAX}}});
}

TEST(Conv, SymbolsPassThroughWhereTheyCan) {
  const Dim n = Dim::symbol("n");
  const Dim h = Dim::symbol("h");
  const auto shape =
      infer_shape("Conv", {{n, 3, h, h * Dim(2)}, {8, 3, 3, 3}}, {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{1, 2}}});
  EXPECT_EQ(shape, (tensor::Shape{n, 8, h, h}));
  const auto halved = infer_shape("MaxPool", {{n, 3, h, 8}}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  EXPECT_FALSE(halved[2].is_constant());
  EXPECT_EQ(halved[3], Dim(4));
}

TEST(Conv, HalvesAreSummedWideAndRoundedOnce) {
  const Tensor x = reals({1, 3, 1}, {2048, 1, 1}, DType::f16);
  const Tensor w = reals({1, 3, 1}, {1, 1, 1}, DType::f16);
  EXPECT_EQ(load<double>(run("Conv", {x, w})), std::vector<double>{2050});
  EXPECT_EQ(run("Conv", {reals({1, 1, 3}, {1, 2, 3}, DType::bf16), reals({1, 1, 1}, {2}, DType::bf16)}).dtype(),
            DType::bf16);
}

TEST(DeformConv, OffsetsToNowhereReadZeros) {
  const Tensor x = counting({1, 1, 2, 2});
  const Tensor offset = reals({1, 2, 2, 2}, {kNan, kInf, -kInf, 1e300, 0, 0, 0, 0});
  EXPECT_EQ(load<double>(run("DeformConv", {x, reals({1, 1, 1, 1}, {1}), offset})), std::vector<double>(4, 0));
  expect_refused("DeformConv", {x, reals({1, 1, 1, 1}, {1}), counting({1, 3, 2, 2})});
  expect_refused("DeformConv", {x, reals({1, 1, 1, 1}, {1}), offset}, {{"offset_group", int64_t{2}}});
}

TEST(MaxPool, NanAndEmptyWindows) {
  const Attributes attributes{{"kernel_shape", Ints{1}}, {"pads", Ints{0, 1}}};
  const auto y = run_all("MaxPool", {reals({1, 1, 2}, {kNan, 3})}, attributes, 2);
  EXPECT_TRUE(std::isnan(load<double>(y[0])[0]));
  EXPECT_EQ(load<int64_t>(y[1]), (Ints{0, 1, -1}));
  const auto bytes = run_all("MaxPool", {reals({1, 1, 2}, {-5, -7}, DType::i8)}, {{"kernel_shape", Ints{2}}}, 2);
  EXPECT_EQ(load<int64_t>(bytes[0]), Ints{-5});
  expect_refused("MaxPool", {counting({1, 1, 2}, DType::i32)}, attributes);
  expect_refused("MaxPool", {counting({1, 2})}, attributes);
  expect_refused("MaxPool", {counting({1, 1, 2})}, {{"kernel_shape", Ints{5}}});
}

TEST(MaxUnpool, IndicesOutsideAreRefused) {
  const Attributes attributes{{"kernel_shape", Ints{2}}, {"strides", Ints{2}}};
  for (const int64_t index : {int64_t{-1}, int64_t{4}, INT64_MIN, INT64_MAX})
    expect_refused("MaxUnpool", {counting({1, 1, 2}), store(DType::i64, {1, 1, 2}, Ints{0, index})}, attributes);
  expect_refused("MaxUnpool", {counting({1, 1, 2}), store(DType::i64, {1, 1, 2}, Ints{0, 1}), ints({1, 1, 3})},
                 attributes);
}

TEST(Rois, ImagesAndCoordinatesAreChecked) {
  const Tensor x = counting({1, 1, 4, 4});
  const Tensor roi = reals({1, 4}, {0, 0, 3, 3});
  for (const int64_t batch : {int64_t{-1}, int64_t{1}, INT64_MAX}) expect_refused("RoiAlign", {x, roi, ints({batch})});
  for (const double bad : {kNan, kInf, 3e38}) expect_refused("RoiAlign", {x, reals({1, 4}, {0, 0, bad, 3}), ints({0})});
  expect_refused("MaxRoiPool", {x, reals({1, 5}, {kNan, 0, 0, 1, 1})}, {{"pooled_shape", Ints{1, 1}}});
  expect_refused("MaxRoiPool", {x, reals({1, 5}, {1, 0, 0, 1, 1})}, {{"pooled_shape", Ints{1, 1}}});
  const Tensor far =
      run("MaxRoiPool", {x, reals({1, 5}, {0, -3e38, -3e38, 3e38, 3e38})}, {{"pooled_shape", Ints{1, 1}}});
  EXPECT_EQ(load<double>(far), std::vector<double>{16});
}

TEST(Resize, InputsThatMakeNoSenseAreRefused) {
  const Tensor x = counting({1, 1, 4, 4});
  const Tensor scales = reals({4}, {1, 1, 2, 2});
  expect_refused("Resize", {x});
  expect_refused("Resize", {x, {}, scales, ints({1, 1, 8, 8})});
  expect_refused("Resize", {x, {}, reals({3}, {1, 2, 2})});
  for (const double bad : {0.0, -1.0, kNan, kInf, 1e30}) expect_refused("Resize", {x, {}, reals({4}, {1, 1, bad, 1})});
  expect_refused("Resize", {x, {}, {}, ints({1, 1, -1, 4})});
  expect_refused("Resize", {x, {}, {}, ints({1, 1, int64_t{1} << 40, int64_t{1} << 40})});
  expect_refused("Resize", {x, {}, scales}, {{"axes", Ints{0, 1, 2, 2}}});
  expect_refused("Resize", {x, {}, scales}, {{"axes", Ints{0, 1, 2, 4}}});
  expect_refused("Resize", {x, {}, scales}, {{"mode", std::string("bilinear")}});
  expect_refused("Resize", {x, {}, scales}, {{"coordinate_transformation_mode", std::string("tf_crop_and_resize")}});
  expect_refused("Resize", {counting({1, 1, 0, 4}), {}, {}, ints({1, 1, 2, 4})});
}

TEST(Resize, NearestCopiesAnyTypeAndRegionsMayBeFar) {
  const Tensor words = Tensor::of_strings({2}, {"a", "b"});
  EXPECT_EQ(run("Resize", {words, {}, reals({1}, {2})}).strings(), (std::vector<std::string>{"a", "a", "b", "b"}));
  expect_refused("Resize", {words, {}, reals({1}, {2})}, {{"mode", std::string("linear")}});
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    const Tensor y = run("Resize", {counting({4}), reals({2}, {-1e30, 1e30}), {}, ints({2})},
                         {{"coordinate_transformation_mode", std::string("tf_crop_and_resize")},
                          {"mode", std::string(mode)},
                          {"extrapolation_value", 7.0}});
    EXPECT_EQ(load<double>(y), (std::vector<double>{7, 7})) << mode;
  }
}

TEST(GridSample, PlacesOutsideOfAllNumbers) {
  const std::vector<double> places{kNan, kInf, -kInf, 1e38, -1e38, 0};
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    for (const char* padding : {"zeros", "border", "reflection"}) {
      for (const int64_t align : {0, 1}) {
        const Attributes attributes{
            {"mode", std::string(mode)}, {"padding_mode", std::string(padding)}, {"align_corners", align}};
        const auto y = load<double>(run("GridSample", {counting({1, 1, 3}), reals({1, 6, 1}, places)}, attributes));
        for (const double value : y) EXPECT_TRUE(value >= 0 && value <= 3.5) << mode << padding << value;
        EXPECT_EQ(y[5], 2);
      }
    }
  }
  expect_refused("GridSample", {counting({1, 1, 3, 3}), counting({1, 2, 2, 3})});
  expect_refused("GridSample", {counting({2, 1, 3}), counting({1, 2, 1})});
}

TEST(Rearrangements, LengthsThatDoNotDivideAreRefused) {
  expect_refused("DepthToSpace", {counting({1, 6, 2, 2})}, {{"blocksize", int64_t{2}}});
  expect_refused("DepthToSpace", {counting({1, 4, 2, 2})}, {{"blocksize", int64_t{0}}});
  expect_refused("SpaceToDepth", {counting({1, 1, 3, 2})}, {{"blocksize", int64_t{2}}});
  expect_refused("SpaceToDepth", {counting({1, 1, 2, 2})}, {{"blocksize", INT64_MAX}});
  expect_refused("Col2Im", {counting({1, 5, 4}), ints({3, 3}), ints({2, 2})});
  expect_refused("Col2Im", {counting({1, 4, 5}), ints({3, 3}), ints({2, 2})});
  expect_refused("Col2Im", {counting({1, 4, 4}), ints({3, INT64_MAX}), ints({2, 2})});
  expect_refused("CenterCropPad", {counting({2, 2}), ints({1, -1})});
  expect_refused("CenterCropPad", {counting({2, 2}), ints({int64_t{1} << 40, int64_t{1} << 40})});
  expect_refused("AffineGrid", {counting({1, 2, 3}), ints({2, 1, 3, 3})});
  expect_refused("AffineGrid", {counting({1, 2, 3}), ints({1, 1, -3, 3})});
}

TEST(Normalizations, ChannelsAndOutputsAreChecked) {
  const Tensor x = counting({2, 4, 3});
  const Tensor four = counting({4});
  expect_refused("GroupNormalization", {x, four, four}, {{"num_groups", int64_t{3}}});
  expect_refused("GroupNormalization", {x, four, four}, {{"num_groups", int64_t{0}}});
  expect_refused("InstanceNormalization", {x, counting({2}), four});
  expect_refused("BatchNormalization", {x, four, four, four, counting({3})});
  expect_refused("BatchNormalization", {x, four, four, four, four}, {}, 3);
  expect_refused("LpNormalization", {x}, {{"p", int64_t{3}}});
  expect_refused("LRN", {x}, {{"size", int64_t{0}}});
  const Tensor huge = run("LRN", {x}, {{"size", INT64_MAX}});
  EXPECT_EQ(huge.dims(), x.dims());
  EXPECT_EQ(load<double>(run("LpNormalization", {reals({2}, {0, 0})})), (std::vector<double>{0, 0}));
}

TEST(ImageDecoder, WhatIsNoPictureIsEmpty) {
  const Tensor noise = store(DType::u8, {5}, Ints{1, 2, 3, 4, 5});
  EXPECT_EQ(run("ImageDecoder", {noise}).dims(), (tensor::Dims{0, 0, 3}));
  EXPECT_EQ(run("ImageDecoder", {noise}, {{"pixel_format", std::string("Grayscale")}}).dims(), (tensor::Dims{0, 0, 1}));
  expect_refused("ImageDecoder", {noise}, {{"pixel_format", std::string("CMYK")}});
  const std::string text = "P3 2 1 255 1 2 3 4 5 6";
  const Tensor file = store(DType::u8, {int64_t(text.size())}, Ints(text.begin(), text.end()));
  EXPECT_EQ(load<int64_t>(run("ImageDecoder", {file}, {{"pixel_format", std::string("BGR")}})),
            (Ints{3, 2, 1, 6, 5, 4}));
}

}  // namespace
}  // namespace lathe::op
