#include "base/json.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace lathe {
namespace {

template <class Body>
std::string refusal(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing thrown";
  return "";
}

TEST(Json, KeepsTheOrderOfKeys) {
  const Json json = parse_json(R"({"z": 1, "a": {"c": 2, "b": 3}})", "config.json");
  EXPECT_EQ(json.dump(), R"({"z":1,"a":{"c":2,"b":3}})");
}

TEST(Json, TheLastValueOfAKeyHolds) {
  EXPECT_EQ(parse_json(R"({"a": 1, "b": 2, "a": {"c": [3]}, "": 4})", "x").dump(), R"({"a":{"c":[3]},"b":2,"":4})");
  std::string text = "{";
  for (int i = 0; i < 100; ++i) text += fmt::format("\"k{}\": [{}], ", i % 50, i);
  const Json json = parse_json(text + "\"k7\": null}", "x");
  ASSERT_EQ(json.size(), 50u);
  int i = 0;
  for (const auto& [key, value] : json.items()) {
    EXPECT_EQ(key, fmt::format("k{}", i));
    EXPECT_EQ(value, i == 7 ? Json(nullptr) : Json({50 + i})) << key;
    ++i;
  }
}

// Looking through all members for each, this would take 10^11 comparisons and not end.
TEST(Json, MillionsOfMembersAreRead) {
  constexpr int kCount = 1'000'000;
  std::string members = "{";
  std::string objects = "[";
  for (int i = 0; i < kCount; ++i) {
    members += fmt::format("\"k{}\":{},", i, i);
    objects += "{},";
  }
  const Json json = parse_json(fmt::format("[{}\"end\":0}},{}1]]", members, objects), "x");
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0].size(), size_t(kCount) + 1);
  EXPECT_EQ(json[0].back(), 0);
  EXPECT_EQ(json[1].size(), size_t(kCount) + 1);
}

TEST(Json, BadTextIsRefusedWithItsName) {
  for (const char* text : {"", " ", "{", "[1,]", "{\"a\":}", "{\"a\" 1}", "nul", "01", "1 2", "\"\\x\"", "'a'", "NaN",
                           "[1e]", "\"a", "{\"a\":1}}", "\xef\xbb", "// c\n1"}) {
    EXPECT_NE(refusal([&] { parse_json(text, "config.json"); }).find("config.json"), std::string::npos) << text;
  }
}

TEST(Json, InvalidUtf8IsRefused) {
  for (const char* text : {"\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\""}) {
    refusal([&] { parse_json(text, "x"); });
  }
  EXPECT_EQ(parse_json("\"\xe2\x82\xac\"", "x").get<std::string>(), "\xe2\x82\xac");
}

std::string nested(int depth, const char* open, const char* close) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += open;
  text += "1";
  for (int i = 0; i < depth; ++i) text += close;
  return text;
}

TEST(Json, DepthIsLimited) {
  EXPECT_NO_THROW(parse_json(nested(250, "[", "]"), "x"));
  EXPECT_NO_THROW(parse_json(nested(250, "{\"a\":", "}"), "x"));
  for (const int depth : {260, 1000, 1000000}) {
    EXPECT_NE(refusal([&] { parse_json(nested(depth, "[", "]"), "x"); }).find("deeper"), std::string::npos);
    EXPECT_NE(refusal([&] { parse_json(nested(depth, "{\"a\":", "}"), "x"); }).find("deeper"), std::string::npos);
  }
}

TEST(Json, FindGivesNothingForAbsentAndNull) {
  const Json json = parse_json(R"({"n": null})", "x");
  for (const char* key : {"n", "absent"}) {
    EXPECT_EQ(find_int(json, key), std::nullopt);
    EXPECT_EQ(find_number(json, key), std::nullopt);
    EXPECT_EQ(find_bool(json, key), std::nullopt);
    EXPECT_EQ(find_string(json, key), std::nullopt);
    EXPECT_EQ(find_member(json, key), nullptr);
    EXPECT_NE(refusal([&] { get_int(json, key); }).find(key), std::string::npos);
    refusal([&] { get_number(json, key); });
    refusal([&] { get_string(json, key); });
    refusal([&] { get_member(json, key); });
  }
}

TEST(Json, TypesAreHeld) {
  const Json json = parse_json(R"({"i": 5, "f": 2.5, "b": true, "s": "text", "o": {}, "big": 9223372036854775808,
                                   "max": 9223372036854775807, "min": -9223372036854775808})",
                               "x");
  EXPECT_EQ(get_int(json, "i"), 5);
  EXPECT_EQ(get_int(json, "max"), INT64_MAX);
  EXPECT_EQ(get_int(json, "min"), INT64_MIN);
  EXPECT_EQ(get_number(json, "i"), 5.0);
  EXPECT_EQ(get_number(json, "f"), 2.5);
  EXPECT_EQ(find_bool(json, "b"), true);
  EXPECT_EQ(get_string(json, "s"), "text");
  EXPECT_TRUE(get_member(json, "o").is_object());
  for (const char* key : {"f", "b", "s", "o", "big"}) refusal([&] { get_int(json, key); });
  for (const char* key : {"b", "s", "o"}) refusal([&] { get_number(json, key); });
  for (const char* key : {"i", "f", "s", "o"}) refusal([&] { find_bool(json, key); });
  for (const char* key : {"i", "f", "b", "o"}) refusal([&] { get_string(json, key); });
  const std::string message = refusal([&] { get_int(json, "s"); });
  EXPECT_NE(message.find("\"s\""), std::string::npos) << message;
  EXPECT_NE(message.find("integer"), std::string::npos) << message;
  EXPECT_NE(message.find("string"), std::string::npos) << message;
}

TEST(Json, MembersOfWhatIsNoObjectAreRefused) {
  for (const char* text : {"[]", "1", "\"s\"", "null", "true"}) {
    const Json json = parse_json(text, "x");
    refusal([&] { find_member(json, "a"); });
    refusal([&] { get_string(json, "a"); });
  }
}

}  // namespace
}  // namespace lathe
