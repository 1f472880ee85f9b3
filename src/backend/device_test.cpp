#include "backend/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "backend/kernel.h"
#include "base/error.h"

namespace lathe::backend {
namespace {

using tensor::DType;
using tensor::Encoding;
using testing::HasSubstr;

template <class Body>
Error refusal(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing thrown";
  return {ErrorCode::internal, ""};
}

TEST(Device, IsFoundByName) {
  for (const Device* device : devices()) {
    EXPECT_EQ(find_device(device->name), device);
    EXPECT_EQ(&get_device(device->name), device);
    EXPECT_FALSE(device->description.empty());
    EXPECT_GT(device->kv_block, 0);
  }
  EXPECT_NE(find_device("cpu"), nullptr);
  EXPECT_EQ(find_device("abacus"), nullptr);
  const Error error = refusal([] { get_device("abacus"); });
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  EXPECT_THAT(error.message(), HasSubstr("\"abacus\""));
  EXPECT_THAT(error.message(), HasSubstr("cpu"));
}

TEST(Device, KernelsAndLayoutsHaveNamesOfTheirOwn) {
  std::set<std::string_view> kernels = {"reference"};
  std::set<std::string_view> layouts = {"plain"};
  for (const Device* device : devices()) {
    for (const Kernel* kernel : device->kernels) {
      EXPECT_TRUE(kernels.insert(kernel->name).second) << kernel->name;
      EXPECT_TRUE(kernel->name.starts_with(device->name)) << kernel->name;
      EXPECT_EQ(&get_kernel(*device, kernel->name), kernel);
    }
    for (const PackedLayout* layout : device->layouts) {
      EXPECT_TRUE(layouts.insert(layout->name()).second) << layout->name();
      EXPECT_EQ(find_layout(layout->name()), layout);
    }
    if (device->host_memory())
      EXPECT_EQ(get_kernel(*device, "reference").name, "reference");
    else  // it computes in the host's memory
      EXPECT_EQ(refusal([&] { get_kernel(*device, "reference"); }).code(), ErrorCode::unsupported);
    EXPECT_EQ(refusal([&] { get_kernel(*device, "cpu.abacus"); }).code(), ErrorCode::unsupported);
  }
  EXPECT_EQ(find_layout("plain"), nullptr);
}

TEST(Device, CapabilitiesSayWhatCanBeChosen) {
  for (const Device* device : devices()) {
    const std::vector<Capability> capabilities = device->capabilities();
    ASSERT_FALSE(capabilities.empty());
    int best = -1;
    for (size_t i = 0; i < capabilities.size(); ++i) {
      const Capability& capability = capabilities[i];
      EXPECT_FALSE(capability.needed_for.empty()) << capability.isa;
      EXPECT_FALSE(capability.detail.empty()) << capability.isa;
      EXPECT_EQ(isa_name(*device, int(i)), capability.isa);
      if (capability.found) {
        EXPECT_EQ(device->choose_isa(capability.isa), int(i));
        EXPECT_EQ(best, int(i) - 1) << "each includes those before it";
        best = int(i);
      } else {
        EXPECT_EQ(refusal([&] { device->choose_isa(capability.isa); }).code(), ErrorCode::unsupported);
      }
    }
    if (best >= 0) {
      EXPECT_EQ(device->choose_isa(""), best);
      EXPECT_EQ(refusal([&] { device->choose_isa("mmx"); }).code(), ErrorCode::usage);
    }
  }
}

TEST(Device, LayoutsGiveBackWhatTheyPack) {
  for (const Device* device : devices()) {
    const PackedLayout* layout = find_layout(*device, DType::f32, Encoding::plain);
    ASSERT_NE(layout, nullptr);
    const int64_t rows = layout->unit_rows() + 3, columns = 8;
    const int64_t units = (rows + layout->unit_rows() - 1) / layout->unit_rows();
    std::vector<float> values(size_t(rows * columns));
    std::iota(values.begin(), values.end(), 1.0f);
    const auto source = tensor::mapped_source(DType::f32, Encoding::plain, {rows, columns},
                                              std::as_bytes(std::span(values)), nullptr, "x");
    std::vector<std::byte> packed(layout->size(rows, columns));
    ASSERT_EQ(packed.size(), units * layout->unit_size(columns));
    layout->pack(*source, 0, units, packed);
    std::vector<float> back(values.size());
    layout->unpack(packed, rows, columns, 0, rows, std::as_writable_bytes(std::span(back)));
    EXPECT_EQ(back, values);
    std::vector<float> row(size_t(columns), 0.0f);
    layout->unpack_row(packed, columns, rows - 1, row);
    EXPECT_EQ(row, std::vector<float>(values.end() - columns, values.end()));
    EXPECT_THROW(layout->unpack_row(packed, columns, 100 * rows, row), Error);
  }
}

TEST(Device, WhatNoLayoutHoldsIsSaid) {
  const Device& device = get_device("cpu");
  EXPECT_EQ(find_layout(device, DType::f64, Encoding::plain), nullptr);
  EXPECT_EQ(find_layout(device, DType::f32, Encoding::q3_k), nullptr);
  ASSERT_NE(find_layout(device, DType::f16, Encoding::q4_0), nullptr);  // the dtype is what it stands for
  EXPECT_TRUE(find_layout(device, DType::bf16, Encoding::plain)->holds(DType::bf16, Encoding::plain));
  EXPECT_FALSE(find_layout(device, DType::bf16, Encoding::plain)->holds(DType::f16, Encoding::plain));
}

TEST(Device, MemoryIsZeroAndRefusedInTime) {
  for (const Device* device : devices()) {
    for (const bool booked : {false, true}) {
      if (!device->host_memory()) continue;
      const auto memory = device->allocate(1 << 20, booked);
      EXPECT_EQ(memory.get()[0], std::byte{0});
      memory.get()[(1 << 20) - 1] = std::byte{1};
      EXPECT_EQ(refusal([&] { device->allocate(size_t{1} << 60, booked); }).code(), ErrorCode::resource);
    }
    EXPECT_EQ(device->make_team(2)->size(), device->host_memory() ? 2 : 1);
    EXPECT_GE(device->make_team(0)->size(), 1);
  }
}

TEST(Device, KeepsCachesOfFloats) {
  for (const Device* device : devices()) {
    EXPECT_EQ(device->kv_block_size({DType::f32, 2, 16}), 2 * device->kv_block_size({DType::f16, 2, 16}));
    EXPECT_EQ(refusal([&] { device->kv_block_size({DType::i8, 2, 16}); }).code(), ErrorCode::unsupported);
  }
}

}  // namespace
}  // namespace lathe::backend
