#include "base/checked.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace lathe {
namespace {

template <class Body>
bool refuses(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code() == ErrorCode::invalid_input;
  }
  return false;
}

// All pairs of 8-bit numbers against arithmetic in int.
template <class T>
void check_all_pairs() {
  using Limits = std::numeric_limits<T>;
  for (int a = Limits::min(); a <= Limits::max(); ++a) {
    for (int b = Limits::min(); b <= Limits::max(); ++b) {
      const auto fits = [](int value) { return value >= Limits::min() && value <= Limits::max(); };
      if (fits(a + b)) {
        ASSERT_EQ(checked_add(T(a), T(b), "sum"), a + b);
      } else if (a % 16 == 0) {  // throwing for all of them would take seconds
        ASSERT_TRUE(refuses([&] { checked_add(T(a), T(b), "sum"); })) << a << " " << b;
      }
      if (fits(a * b)) {
        ASSERT_EQ(checked_mul(T(a), T(b), "product"), a * b);
      } else if (a % 16 == 0) {
        ASSERT_TRUE(refuses([&] { checked_mul(T(a), T(b), "product"); })) << a << " " << b;
      }
    }
  }
}

TEST(Checked, AddAndMulOfAllSmallNumbers) {
  check_all_pairs<int8_t>();
  check_all_pairs<uint8_t>();
}

TEST(Checked, LargeNumbers) {
  EXPECT_EQ(checked_mul<uint64_t>(uint64_t{1} << 32, (uint64_t{1} << 32) - 1, "x"), 0xffffffff00000000u);
  EXPECT_TRUE(refuses([] { checked_mul<uint64_t>(uint64_t{1} << 32, uint64_t{1} << 32, "x"); }));
  EXPECT_TRUE(refuses([] { checked_mul<int64_t>(INT64_MIN, -1, "x"); }));
  EXPECT_TRUE(refuses([] { checked_add<int64_t>(INT64_MAX, 1, "x"); }));
}

TEST(Checked, CastKeepsTheNumberOrRefuses) {
  EXPECT_EQ((checked_cast<uint8_t>(255, "x")), 255);
  EXPECT_TRUE(refuses([] { checked_cast<uint8_t>(256, "x"); }));
  EXPECT_TRUE(refuses([] { checked_cast<uint64_t>(int64_t{-1}, "x"); }));
  EXPECT_TRUE(refuses([] { checked_cast<int64_t>(uint64_t(INT64_MAX) + 1, "x"); }));
  EXPECT_EQ((checked_cast<int64_t>(uint64_t(INT64_MAX), "x")), INT64_MAX);
  EXPECT_EQ((checked_cast<int32_t>(int64_t(INT32_MIN), "x")), INT32_MIN);
  EXPECT_TRUE(refuses([] { checked_cast<int32_t>(int64_t(INT32_MIN) - 1, "x"); }));
}

TEST(Checked, MessagesNameTheThing) {
  try {
    checked_mul<int32_t>(1 << 20, 1 << 20, "tensor \"w\"");
    FAIL() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("tensor \"w\""), std::string::npos) << error.message();
  }
}

TEST(Checked, RoundingUp) {
  for (int64_t value = 0; value < 100; ++value) {
    for (int64_t unit = 1; unit < 20; ++unit) {
      const int64_t up = align_up(value, unit);
      EXPECT_EQ(up % unit, 0);
      EXPECT_GE(up, value);
      EXPECT_LT(up, value + unit);
      EXPECT_EQ(ceil_div(value, unit), up / unit);
    }
  }
}

}  // namespace
}  // namespace lathe
