// Patterns and texts that no other implementation is asked about: refusals, hostile sizes, bytes that are no text.
#include <gtest/gtest.h>

#include "base/error.h"
#include "op/op.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;
using Texts = std::vector<std::string>;

Tensor texts(Texts values) {
  const int64_t count = int64_t(values.size());
  return Tensor::of_strings({count}, std::move(values));
}

std::vector<bool> match(const std::string& pattern, Texts values) {
  const Tensor found = evaluate(get_op("RegexFullMatch"), {texts(std::move(values))}, {{"pattern", pattern}})[0];
  return {found.data<bool>().begin(), found.data<bool>().end()};
}

template <class Body>
void expect_error(ErrorCode code, Body body) {
  try {
    body();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
  }
}

TEST(RegexFullMatch, RefusesWhatRe2Refuses) {
  for (const char* pattern : {"(?=a)",       "(?<!a)",     "(?>a)",     "(a)\\1",      "(?P=n)",
                              "a**",         "a{1001}",    "a{2,1}",    "(a{40}){40}", "a*+",
                              "(",           ")",          "[a",        "[b-a]",       "*",
                              "\\k",         "\\p{greek}", "[[:foo:]]", "(?x)a",       "(?P<n>a)(?P<n>b)",
                              "\\x{110000}", "\\",         "\xff",      "(?#comment)", "(*UTF)",
                              "(?R)",        "\\K"}) {
    SCOPED_TRACE(pattern);
    expect_error(ErrorCode::invalid_input, [&] { match(pattern, {"a"}); });
  }
  expect_error(ErrorCode::unsupported, [] { match("\\C", {"a"}); });
  expect_error(ErrorCode::unsupported, [] { match(std::string(5000, '('), {"a"}); });
}

TEST(RegexFullMatch, TakesNoExponentialTime) {
  const std::string many(2000, 'a');
  EXPECT_EQ(match("(a+)+b", {many}), std::vector{false});
  EXPECT_EQ(match("(a|a|aa)*b", {many}), std::vector{false});
  EXPECT_EQ(match("(a?){200}a{200}", {many.substr(0, 200)}), std::vector{true});
  EXPECT_EQ(match("(.*)(.*)(.*)(.*)(.*)[^a]", {many}), std::vector{false});
}

TEST(RegexFullMatch, BytesThatAreNoTextMatchNothing) {
  EXPECT_EQ(match("(?s).*", {"\xff", "a\x80", "\xed\xa0\x80", "ok", std::string("\0", 1)}),
            (std::vector{false, false, false, true, true}));
}

TEST(StringNormalizer, Refusals) {
  const OpDef& def = get_op("StringNormalizer");
  const auto run = [&](const Attributes& attributes, const Tensor& x) { evaluate(def, {x}, attributes); };
  expect_error(ErrorCode::unsupported, [&] {
    run({{"locale", std::string("tr_TR")}, {"case_change_action", std::string("LOWER")}}, texts({"I"}));
  });
  expect_error(ErrorCode::invalid_input, [&] { run({{"case_change_action", std::string("TITLE")}}, texts({"I"})); });
  expect_error(ErrorCode::invalid_input, [&] { run({{"case_change_action", std::string("UPPER")}}, texts({"\xc3"})); });
  expect_error(ErrorCode::invalid_input, [&] { run({}, Tensor::of_strings({2, 1}, {"a", "b"})); });
  EXPECT_EQ(evaluate(def, {texts({})}, {})[0].strings(), Texts{""});
}

TEST(TfIdfVectorizer, RefusesPoolsThatDoNotFit) {
  using Ints = std::vector<int64_t>;
  const Attributes good = {{"mode", std::string("TF")},      {"min_gram_length", int64_t{1}},
                           {"max_gram_length", int64_t{2}},  {"max_skip_count", INT64_MAX},
                           {"ngram_counts", Ints{0, 2}},     {"ngram_indexes", Ints{0, 1, 2}},
                           {"pool_int64s", Ints{5, 6, 5, 6}}};
  const Tensor x = Tensor::of<int64_t>({4}, {5, 9, 6, 5});
  // With any number of skips 5 _ 6 and 9 _ 5 are seen, of which the pool has the first.
  const Tensor y = evaluate(get_op("TfIdfVectorizer"), {x}, good)[0];
  EXPECT_EQ(std::vector(y.data<float>().begin(), y.data<float>().end()), (std::vector<float>{2, 1, 1}));
  const std::vector<std::pair<std::string, AttributeValue>> bad = {
      {"ngram_counts", Ints{0, 9}},        {"ngram_counts", Ints{2, 0}},
      {"ngram_counts", Ints{0, 1}},        {"ngram_counts", Ints{-1, 2}},
      {"ngram_counts", Ints{0}},           {"ngram_indexes", Ints{0, 1}},
      {"ngram_indexes", Ints{0, 1, -1}},   {"ngram_indexes", Ints{0, 1, INT64_MAX}},
      {"min_gram_length", int64_t{0}},     {"max_skip_count", int64_t{-1}},
      {"pool_strings", Texts{"a"}},        {"mode", std::string("XX")},
      {"weights", std::vector<double>{1}}, {"pool_int64s", Ints{5, 5, 5, 6}}};
  for (const auto& [name, value] : bad) {
    SCOPED_TRACE(name);
    Attributes attributes = good;
    attributes.set(name, value);
    expect_error(ErrorCode::invalid_input, [&] { evaluate(get_op("TfIdfVectorizer"), {x}, attributes); });
  }
}

TEST(Movement, IndicesOutsideAreRefused) {
  const Tensor x = Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto index = [](tensor::Dims dims, int64_t value) { return Tensor::of<int64_t>(std::move(dims), {value}); };
  for (const int64_t i : {int64_t{2}, int64_t{-3}, INT64_MAX, INT64_MIN}) {
    expect_error(ErrorCode::invalid_input, [&] { evaluate(get_op("GatherND"), {x, index({1, 1}, i)}, {}); });
    expect_error(ErrorCode::invalid_input, [&] {
      evaluate(get_op("ScatterElements"), {x, index({1, 1}, i), Tensor::of<float>({1, 1}, {0})}, {});
    });
    expect_error(ErrorCode::invalid_input,
                 [&] { evaluate(get_op("GatherND"), {x, index({1, 1}, 0)}, {{"batch_dims", i}}); });
    expect_error(ErrorCode::invalid_input, [&] {
      evaluate(get_op("ai.onnx.ml.ArrayFeatureExtractor"), {x, index({1}, i < 0 ? i : std::max(i, int64_t{3}))}, {});
    });
  }
  const Tensor four = Tensor::of<bool>({4}, {false, false, false, true});
  expect_error(ErrorCode::invalid_input, [&] { evaluate(get_op("Compress"), {x, four}, {{"axis", int64_t{0}}}); });
  expect_error(ErrorCode::invalid_input, [&] { evaluate(get_op("GatherND"), {x, Tensor(DType::i64, {1, 0})}, {}); });
  expect_error(ErrorCode::invalid_input, [&] { evaluate(get_op("GatherND"), {x, Tensor(DType::i64, {1, 3})}, {}); });
}

TEST(Unique, ComplexNumbersAndEmptySlices) {
  Tensor x(DType::c64, {3});
  const float parts[] = {1, 2, 1, -2, 1, 2};
  std::copy(std::begin(parts), std::end(parts), x.data<float>().begin());
  const auto found = evaluate(get_op("Unique"), {x}, {}, 4);
  EXPECT_EQ(found[0].dims(), tensor::Dims{2});
  EXPECT_EQ(found[0].data<float>()[1], -2);
  EXPECT_EQ(found[3].data<int64_t>()[1], 2);
  const auto empty = evaluate(get_op("Unique"), {Tensor(DType::f32, {3, 0})}, {{"axis", int64_t{0}}}, 4);
  EXPECT_EQ(empty[0].dims(), (tensor::Dims{1, 0}));
}

TEST(BitCast, RefusesOtherWidths) {
  const Tensor x = Tensor::of<float>({1}, {1});
  for (const DType to : {DType::f64, DType::string, DType::u8, DType::u4, DType::undefined}) {
    expect_error(ErrorCode::invalid_input, [&] { evaluate(get_op("BitCast"), {x}, {{"to", int64_t(to)}}); });
  }
  expect_error(ErrorCode::invalid_input, [&] { evaluate(get_op("BitCast"), {texts({"a"})}, {{"to", int64_t{1}}}); });
  const Tensor bytes = Tensor::of<uint8_t>({3}, {0, 2, 255});
  EXPECT_EQ(evaluate(get_op("BitCast"), {bytes}, {{"to", int64_t(DType::boolean)}})[0].data<uint8_t>()[1], 1);
}

}  // namespace
}  // namespace lathe::op
