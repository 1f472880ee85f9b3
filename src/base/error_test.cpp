#include "base/error.h"

#include <gtest/gtest.h>

#include <string>

namespace lathe {
namespace {

TEST(Error, CarriesCodeMessageAndContext) {
  try {
    with_context("model.gguf", [] {
      with_context(std::string("layer 3"),
                   [] { fail(ErrorCode::invalid_input, "expected {}, found {}", 4, "five"); });
    });
    FAIL() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_EQ(error.message(), "expected 4, found five");
    EXPECT_EQ(error.context(), (std::vector<std::string>{"model.gguf", "layer 3"}));
    EXPECT_STREQ(error.what(), "model.gguf: layer 3: expected 4, found five");
  }
}

TEST(Error, WithContextReturnsWhatTheBodyReturns) {
  int number = 7;
  int& reference = with_context("here", [&]() -> int& { return number; });
  EXPECT_EQ(&reference, &number);
  EXPECT_EQ(with_context("here", [] { return std::string("text"); }), "text");
}

TEST(Error, OtherExceptionsPassThroughContext) {
  EXPECT_THROW(with_context("here", [] { throw 5; }), int);
}

TEST(Error, CheckThrowsInternalWithPlaceAndCondition) {
  const int rows = 3;
  EXPECT_NO_THROW(LATHE_CHECK(rows == 3));
  try {
    LATHE_CHECK(rows == 4, "rows {}", rows);
    FAIL() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
    EXPECT_NE(error.message().find("error_test.cpp"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("rows == 4"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("rows 3"), std::string::npos) << error.message();
  }
}

TEST(Error, CodesHaveTheNamesOfTheContract) {
  EXPECT_EQ(to_string(ErrorCode::usage), "usage");
  EXPECT_EQ(to_string(ErrorCode::invalid_input), "invalid_input");
  EXPECT_EQ(to_string(ErrorCode::unsupported), "unsupported");
  EXPECT_EQ(to_string(ErrorCode::not_found), "not_found");
  EXPECT_EQ(to_string(ErrorCode::io), "io");
  EXPECT_EQ(to_string(ErrorCode::resource), "resource");
  EXPECT_EQ(to_string(ErrorCode::verification), "verification");
  EXPECT_EQ(to_string(ErrorCode::internal), "internal");
}

}  // namespace
}  // namespace lathe
