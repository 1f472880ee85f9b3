#include "plan/manifest.h"

#include <flatbuffers/flexbuffers.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "base/fields.h"
#include "plan/flex.h"
#include "plan/sample_plan.h"

namespace lathe::plan {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

template <class Bytes>
std::span<const std::byte> bytes_of(const std::vector<Bytes>& bytes) {
  return std::as_bytes(std::span(bytes));
}

// Success or an Error that blames the input.
template <class Body>
void expect_survives(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
  }
}

TEST(Flex, ValuesReadBack) {
  const Json json = {{"a", nullptr},
                     {"b", true},
                     {"c", -1},
                     {"d", INT64_MIN},
                     {"e", UINT64_MAX},
                     {"f", 0.1},
                     {"g", std::string("zero \0 inside", 13)},
                     {"h", Json::array({1, "x", Json::array(), Json::object(), 1e300})},
                     {"i", std::string(100000, 'x')}};
  EXPECT_EQ(decode_flex(bytes_of(encode_flex(json))), json);
}

TEST(Flex, TheLibraryReadsWhatWeWrite) {
  const std::string bytes = encode_flex({{"list", {1, 2.5, "three"}}});
  const auto list =
      flexbuffers::GetRoot(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()).AsMap()["list"].AsVector();
  ASSERT_EQ(list.size(), 3u);
  EXPECT_TRUE(list[0].IsInt());  // the accessors that convert need the library's archive
  EXPECT_TRUE(list[1].IsFloat());
  EXPECT_EQ(list[2].AsString().str(), "three");
}

TEST(Flex, RefusesSharedValues) {
  // A few bytes that stand for 2^20 values: each level holds the one below twice.
  flexbuffers::Builder builder;
  const size_t root = builder.StartVector();
  const size_t start = builder.StartVector();
  builder.Int(1);
  builder.EndVector(start, false, false);
  auto below = builder.LastValue();
  for (int i = 0; i < 20; ++i) {
    const size_t level = builder.StartVector();
    builder.ReuseValue(below);
    builder.ReuseValue(below);
    builder.EndVector(level, false, false);
    below = builder.LastValue();
  }
  builder.EndVector(root, false, false);
  builder.Finish();
  EXPECT_THROW(decode_flex(bytes_of(builder.GetBuffer())), Error);
}

TEST(Flex, RefusesDeepNesting) {
  Json json = 1;
  for (int i = 0; i < 100; ++i) json = Json::array({std::move(json)});
  EXPECT_THROW(decode_flex(bytes_of(encode_flex(json))), Error);
}

TEST(Manifest, ReadsBack) {
  Manifest manifest = sample_manifest();
  op::Attributes& attributes = manifest.plan.instructions[0].attributes;
  const double infinity = std::numeric_limits<double>::infinity();
  attributes = {{"int", int64_t{-3}},
                {"float", 1.0},
                {"infinite", -infinity},
                {"string", std::string("s")},
                {"ints", std::vector<int64_t>{1, INT64_MAX}},
                {"floats", std::vector<double>{-0.0, 0.1, infinity}},
                {"strings", std::vector<std::string>{"", "x"}},
                {"none", std::vector<int64_t>{}},
                {"no_floats", std::vector<double>{}}};
  manifest.assets = {{"tokenizer.json", 64, 12}};
  manifest.weight_hashes = {std::string(32, 'a'), std::string(32, 'b')};
  manifest.weight_bytes = 1 << 20;
  const std::string bytes = write_manifest(manifest);
  const Manifest found = read_manifest(bytes_of(bytes));
  EXPECT_EQ(print(found.plan), print(manifest.plan));
  EXPECT_EQ(found.plan.instructions[0].attributes, attributes);
  EXPECT_EQ(found.plan.constants[1].offset, manifest.plan.constants[1].offset);
  EXPECT_EQ(to_json(found.contract), to_json(manifest.contract));
  EXPECT_EQ(found.graph, manifest.graph);
  EXPECT_EQ(found.producer, manifest.producer);
  EXPECT_EQ(found.opset, 27);
  EXPECT_EQ(found.weight_hashes, manifest.weight_hashes);
  EXPECT_EQ(found.weight_bytes, manifest.weight_bytes);
  EXPECT_EQ(found.assets[0].name, "tokenizer.json");
  EXPECT_EQ(write_manifest(found), bytes);
}

TEST(Manifest, TensorAttributeIsOurFault) {
  Manifest manifest = sample_manifest();
  manifest.plan.instructions[0].attributes.set("value", tensor::Tensor::scalar(1.0f));
  try {
    write_manifest(manifest);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
  }
}

TEST(Manifest, AnyDamageIsSurvived) {
  const std::string good = write_manifest(sample_manifest());
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int flip : {1, 0x80, 0xff}) {
      std::string bad = good;
      bad[i] = char(bad[i] ^ flip);
      expect_survives([&] { check(read_manifest(bytes_of(bad))); });
    }
    expect_survives([&] { check(read_manifest(bytes_of(std::string_view(good).substr(0, i)))); });
    expect_survives([&] { check(read_manifest(bytes_of(std::string_view(good).substr(i)))); });
  }
}

TEST(Manifest, ReceiptReadsBack) {
  Receipt receipt;
  receipt.engine_hash = "h";
  receipt.gates = {{"2 fp32", 1e-6, 1e-4, true, "relative to max", ""}};
  receipt.first_difference = Difference{"n", "t", {1, 2}, 0.5, 1, 1.5};
  const Receipt found = read_receipt_bytes(bytes_of(write_receipt_bytes(receipt)));
  EXPECT_EQ(to_json(found), to_json(receipt));
}

}  // namespace
}  // namespace lathe::plan
