#include "base/fields.h"

#include <gtest/gtest.h>

#include <limits>

namespace lathe {
namespace {

enum class Colour { red, green };
std::string_view to_string(Colour colour) {
  return colour == Colour::red ? "red" : "green";
}
bool from_string(std::string_view text, Colour& colour) {
  if (text != "red" && text != "green") return false;
  colour = text == "red" ? Colour::red : Colour::green;
  return true;
}

struct Inner {
  int8_t small = 1;
  bool flag = false;
  template <class V>
  void visit_fields(V& visitor) {
    visitor("small", small, "a comment");
    visitor("flag", flag);
  }
};

struct Outer {
  int64_t count = 7;
  uint64_t large = 0;
  float ratio = 0.5f;
  double real = 0.1;
  std::string text = "t";
  Colour colour = Colour::red;
  std::optional<int> maybe = 3;
  std::vector<int64_t> ids = {1};
  std::vector<bool> bits;
  std::vector<Inner> inners;
  Inner inner;
  std::map<std::string, double> weights;
  template <class V>
  void visit_fields(V& visitor) {
    visitor("count", count);
    visitor("large", large);
    visitor("ratio", ratio);
    visitor("real", real);
    visitor("text", text);
    visitor("colour", colour);
    visitor("maybe", maybe);
    visitor("ids", ids);
    visitor("bits", bits);
    visitor("inners", inners);
    visitor("inner", inner);
    visitor("weights", weights);
  }
};

Outer read(std::string_view text) {
  Outer value;
  from_json(parse_json(text, "test"), value);
  return value;
}

TEST(Fields, WritesInOrderWithNulls) {
  Outer value;
  value.maybe.reset();
  value.bits = {true, false};
  value.inners = {{.small = -5, .flag = true}};
  value.weights = {{"a", 1.5}};
  EXPECT_EQ(to_json(value).dump(),
            R"({"count":7,"large":0,"ratio":0.5,"real":0.1,"text":"t","colour":"red","maybe":null,"ids":[1],)"
            R"("bits":[true,false],"inners":[{"small":-5,"flag":true}],"inner":{"small":1,"flag":false},)"
            R"("weights":{"a":1.5}})");
}

TEST(Fields, ReadsBackWhatItWrote) {
  Outer value;
  value.count = std::numeric_limits<int64_t>::min();
  value.large = std::numeric_limits<uint64_t>::max();
  value.ratio = 0.1f;
  value.maybe.reset();
  value.colour = Colour::green;
  value.text = "\"\n\xc3\xa9";
  value.inners = {{}, {.small = 127, .flag = true}};
  const std::string text = to_json(value).dump();
  const Outer back = read(text);
  EXPECT_EQ(to_json(back).dump(), text);
  EXPECT_EQ(back.large, value.large);
  EXPECT_EQ(back.ratio, 0.1f);
  EXPECT_FALSE(back.maybe.has_value());
}

TEST(Fields, MissingKeysKeepDefaultsAndUnknownOnesAreIgnored) {
  const Outer value = read(R"({"count": 9, "new_field": {"x": [1]}, "inner": {"flag": true, "z": 0}})");
  EXPECT_EQ(value.count, 9);
  EXPECT_EQ(value.real, 0.1);
  EXPECT_EQ(value.maybe, 3);
  EXPECT_EQ(value.inner.small, 1);
  EXPECT_TRUE(value.inner.flag);
}

TEST(Fields, WrongTypesNameTheField) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"count": "9"})", "count"},
      {R"({"count": 1.5})", "count"},
      {R"({"count": null})", "count"},
      {R"({"count": 18446744073709551615})", "count"},
      {R"({"large": -1})", "large"},
      {R"({"real": true})", "real"},
      {R"({"text": 1})", "text"},
      {R"({"colour": "blue"})", "colour"},
      {R"({"colour": 1})", "colour"},
      {R"({"maybe": "x"})", "maybe"},
      {R"({"ids": 4})", "ids"},
      {R"({"ids": [1, "x"]})", "ids: [1]"},
      {R"({"inner": []})", "inner"},
      {R"({"inner": {"small": 128}})", "inner: small"},
      {R"({"inners": [{}, {"flag": 1}]})", "inners: [1]: flag"},
      {R"({"weights": {"k": []}})", "weights: k"},
      {R"([])", "expected object"},
  };
  for (const auto& [text, where] : cases) {
    try {
      read(text);
      ADD_FAILURE() << text << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      EXPECT_NE(std::string(error.what()).find(where), std::string::npos) << error.what();
    }
  }
}

TEST(Fields, InfinityCannotBeWritten) {
  Outer value;
  value.real = std::numeric_limits<double>::infinity();
  EXPECT_THROW(to_json(value), Error);
}

}  // namespace
}  // namespace lathe
