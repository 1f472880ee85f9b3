// Each stored layout has an exact inverse and says its size; Winograd's weights are the transform's, to the bit.
#include "backend/cpu/graph_layouts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <tuple>

#include "backend/cpu/isa.h"
#include "backend/cpu/winograd.h"
#include "backend/device.h"
#include "base/error.h"
#include "base/numbers.h"

namespace lathe::backend::cpu {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::Tensor;

Tensor numbers(const Dims& dims) {
  Tensor tensor(DType::f32, dims);
  float value = 0.5f;
  for (float& element : tensor.data<float>()) element = value = value * 1.37f > 100 ? value - 99.5f : value * 1.37f;
  return tensor;
}

struct Problem {
  std::string op;
  size_t input;
  Dims dims;
  int64_t group;
  std::string weights = "f32";
};

// As a layout of 16 bits keeps it.
float kept(const std::string& weights, float value) {
  if (weights == "bf16") return bf16_to_f32(f32_to_bf16(value));
  return weights == "f16" ? f16_to_f32(f32_to_f16(value)) : value;
}

const GraphLayout* layout_of(const plan::Instruction& instruction, size_t input, const Dims& dims) {
  for (const GraphLayout* layout : get_device("cpu").graph_layouts) {
    if (layout->wanted(instruction, input, DType::f32, dims)) return layout;
  }
  return nullptr;
}

TEST(GraphLayouts, WhatIsStoredCanBeHadBack) {
  std::set<std::string_view> seen;
  for (const Problem& p : std::vector<Problem>{{"lathe.Linear", 4, {1, 1}, 1},
                                               {"lathe.Linear", 4, {16, 8}, 1},
                                               {"lathe.Linear", 4, {37, 5}, 1},
                                               {"lathe.Conv", 1, {4, 3, 3, 3}, 1},
                                               {"lathe.Conv", 1, {33, 7, 1, 1}, 1},
                                               {"lathe.Conv", 1, {6, 2, 2, 3}, 3},
                                               {"lathe.Conv", 1, {40, 5, 7}, 2},
                                               {"lathe.Conv", 1, {5, 2, 2, 3, 2}, 1},
                                               {"lathe.Conv", 1, {17, 1, 3, 3}, 17},
                                               {"lathe.Conv", 1, {32, 1, 5}, 32},
                                               {"lathe.Conv", 1, {32, 16, 3, 3}, 1},
                                               {"lathe.Linear", 4, {37, 5}, 1, "bf16"},
                                               {"lathe.Linear", 4, {16, 8}, 1, "f16"},
                                               {"lathe.Conv", 1, {40, 17, 3, 2}, 2, "bf16"},
                                               {"lathe.Conv", 1, {33, 3, 5}, 1, "bf16"},
                                               {"lathe.Conv", 1, {17, 20, 1, 1}, 1, "f16"},
                                               {"lathe.Conv", 1, {6, 5, 3}, 3, "f16"}}) {
    const plan::Instruction instruction{.op = p.op,
                                        .kernel = {},
                                        .name = {},
                                        .attributes = {{"group", p.group}, {"weights", p.weights}},
                                        .inputs = {},
                                        .outputs = {}};
    const GraphLayout* layout = layout_of(instruction, p.input, p.dims);
    ASSERT_TRUE(layout) << p.op;
    seen.insert(layout->name);
    if (!layout->stored()) continue;
    SCOPED_TRACE(fmt::format("{} {}", layout->name, tensor::to_string(std::span<const int64_t>(p.dims))));
    Tensor plain = numbers(p.dims);
    const Tensor packed = layout->pack(instruction, plain);
    const int64_t variant = layout->variant ? layout->variant(instruction) : 0;
    ASSERT_EQ(layout->size(p.dims, variant), packed.bytes().size());
    for (float& element : plain.data<float>()) element = kept(p.weights, element);
    for (const int64_t step : {int64_t{1}, int64_t{7}, plain.size()}) {
      for (int64_t first = 0; first < plain.size(); first += step) {
        const int64_t count = std::min(step, plain.size() - first);
        std::vector<std::byte> out(size_t(count) * 4);
        layout->unpack(p.dims, variant, packed.bytes(), first, count, out);
        ASSERT_EQ(std::memcmp(out.data(), plain.bytes().data() + first * 4, out.size()), 0) << first;
      }
    }
  }
  EXPECT_EQ(seen, (std::set<std::string_view>{"f32_panel", "conv_panel", "conv_depthwise", "conv_winograd",
                                              "linear_bf16", "linear_f16", "conv_bf16", "conv_f16"}));
}

// Signed bytes come back as they were; a sum of a row that is not its own is found where the whole row is asked for.
TEST(GraphLayouts, SignedPanelsCanBeHadBack) {
  const GraphLayout* layout = find_graph_layout(get_device("cpu"), "s8_panel");
  ASSERT_TRUE(layout && layout->stored());
  for (const auto& [op, dims, group] :
       std::vector<std::tuple<std::string, Dims, int64_t>>{{"lathe.QLinear", {1, 1}, 1},
                                                           {"lathe.QLinear", {37, 21}, 1},
                                                           {"lathe.QConv", {33, 7, 3, 3}, 1},
                                                           {"lathe.QConv", {34, 5, 2, 3}, 2},
                                                           {"lathe.QConv", {6, 2, 5}, 3}}) {
    SCOPED_TRACE(fmt::format("{} {}", op, tensor::to_string(std::span<const int64_t>(dims))));
    const plan::Instruction instruction{
        .op = op, .kernel = {}, .name = {}, .attributes = {{"group", group}}, .inputs = {}, .outputs = {}};
    ASSERT_TRUE(layout->wanted(instruction, 1, DType::i8, dims));
    EXPECT_FALSE(layout->wanted(instruction, 1, DType::u8, dims));
    Tensor plain(DType::i8, dims);
    int value = -128;
    for (int8_t& element : plain.data<int8_t>()) element = int8_t(value = value > 80 ? value - 190 : value + 37);
    Tensor packed = layout->pack(instruction, plain);
    ASSERT_EQ(layout->size(dims, group), packed.bytes().size());
    for (const int64_t step : {int64_t{1}, int64_t{7}, plain.size()}) {
      for (int64_t first = 0; first < plain.size(); first += step) {
        std::vector<std::byte> out(size_t(std::min(step, plain.size() - first)));
        layout->unpack(dims, group, packed.bytes(), first, int64_t(out.size()), out);
        ASSERT_EQ(std::memcmp(out.data(), plain.bytes().data() + first, out.size()), 0) << first;
      }
    }
    std::vector<std::byte> all(size_t(plain.size()));
    packed.mutable_bytes()[0] ^= std::byte{1};  // the first row's sum
    EXPECT_THROW(layout->unpack(dims, group, packed.bytes(), 0, plain.size(), all), Error);
  }
}

TEST(GraphLayouts, SizesOfWhatCannotBeAreRefused) {
  for (const GraphLayout* layout : get_device("cpu").graph_layouts) {
    if (!layout->stored()) continue;
    EXPECT_THROW(layout->size({}, 1), Error) << layout->name;
    EXPECT_THROW(layout->size({int64_t{1} << 40, int64_t{1} << 40, 3}, 1), Error) << layout->name;
  }
  const GraphLayout* conv = find_graph_layout(get_device("cpu"), "conv_panel");
  ASSERT_TRUE(conv);
  for (const int64_t group : {-1, 0, 3}) EXPECT_THROW(conv->size({4, 2, 3}, group), Error);
  EXPECT_FALSE(find_graph_layout(get_device("cpu"), "plain"));
}

TEST(GraphLayouts, WinogradTiersTransformAsTheDefinition) {
  const Tensor kernels = numbers({16, 9});
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    if (!has_isa(isa)) continue;
    const WinogradTier& tier = isa == Isa::avx2 ? avx2::kWinogradTier : avx512::kWinogradTier;
    for (const int64_t count : {1, 15, 16}) {
      std::vector<float> out(36 * 16, -1.0f);
      tier.weights(kernels.data<float>().data(), 9, count, out.data(), 16);
      for (int64_t j = 0; j < 16; ++j) {
        double planes[kWinogradPlanes] = {};
        if (j < count) transform_kernel(kernels.data<float>().data() + j * 9, planes);
        for (int64_t plane = 0; plane < kWinogradPlanes; ++plane)
          EXPECT_EQ(out[size_t(plane * 16 + j)], float(planes[plane]));
      }
    }
  }
}

}  // namespace
}  // namespace lathe::backend::cpu
