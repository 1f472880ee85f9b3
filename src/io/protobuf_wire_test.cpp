#include "io/protobuf_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>

#include "base/error.h"

namespace lathe::io {
namespace {

using ::testing::ElementsAre;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Reads all fields and returns how many, or throws.
int count_fields(const std::string& message) {
  int count = 0;
  for (WireReader in(bytes_of(message)); in.next();) ++count;
  return count;
}

template <class Body>
std::string written(Body&& describe) {
  WireWriter out;
  describe(out);
  const uint64_t measured = out.size();
  std::string text;
  out.start([&](std::span<const std::byte> part) {
    text.append(reinterpret_cast<const char*>(part.data()), part.size());
  });
  describe(out);
  out.finish();
  EXPECT_EQ(text.size(), measured);
  return text;
}

// The examples of the protobuf encoding guide.
TEST(WireReaderTest, ReadsThePublishedExamples) {
  const std::string message = "\x08\x96\x01\x12\x07testing";
  WireReader in(bytes_of(message));
  ASSERT_TRUE(in.next());
  EXPECT_EQ(in.field(), 1u);
  EXPECT_EQ(in.as_uint64(), 150u);
  ASSERT_TRUE(in.next());
  EXPECT_EQ(in.field(), 2u);
  EXPECT_EQ(in.as_text(), "testing");
  EXPECT_FALSE(in.next());

  const std::string packed = "\x32\x06\x03\x8e\x02\x9e\xa7\x05";
  WireReader list(bytes_of(packed));
  ASSERT_TRUE(list.next());
  std::vector<uint64_t> values;
  list.each_varint([&](uint64_t value) { values.push_back(value); });
  EXPECT_THAT(values, ElementsAre(3, 270, 86942));
}

TEST(WireReaderTest, NegativeNumbersTakeTenBytes) {
  const std::string message = "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
  WireReader in(bytes_of(message));
  ASSERT_TRUE(in.next());
  EXPECT_EQ(in.as_int64(), -2);
  EXPECT_EQ(in.as_int32(), -2);
}

TEST(WireReaderTest, RefusesMalformedMessages) {
  using namespace std::string_literals;
  for (const std::string& message : {
           "\x08"s,                                              // no value
           "\x08\x80"s,                                          // varint cut off
           "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"s,      // 65 bits
           "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s,  // 11 bytes
           "\x00\x00"s,                                          // field 0
           "\x80\x80\x80\x80\x10\x00"s,                          // field 2^29
           "\x0b\x0c"s,                                          // a group
           "\x0e"s, "\x0f"s,                                     // wire types that do not exist
           "\x12\x05test"s,                                      // length beyond the end
           "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s,      // length 2^64 - 1
           "\x0d\x00\x00\x00"s,                                  // 3 of 4 bytes
           "\x09\x00\x00\x00\x00\x00\x00\x00"s,                  // 7 of 8 bytes
       }) {
    EXPECT_THROW(count_fields(message), Error) << ::testing::PrintToString(message);
  }
  EXPECT_EQ(count_fields("\xf8\xff\xff\xff\x0f\x01"), 1);  // the last field number, 2^29 - 1
  EXPECT_EQ(count_fields(""), 0);
}

TEST(WireReaderTest, RefusesOtherWireTypes) {
  const std::string message = "\x08\x01";
  WireReader in(bytes_of(message));
  ASSERT_TRUE(in.next());
  EXPECT_THROW(in.as_bytes(), Error);
  EXPECT_THROW(in.as_float(), Error);
  EXPECT_THROW(in.fixed64_run(), Error);
  const std::string large = "\x08\x80\x80\x80\x80\x08";  // 2^31
  WireReader other(bytes_of(large));
  ASSERT_TRUE(other.next());
  EXPECT_THROW(other.as_int32(), Error);
  const std::string run =
      "\x0a\x05"
      "12345";
  WireReader floats(bytes_of(run));
  ASSERT_TRUE(floats.next());
  EXPECT_THROW(floats.fixed32_run(), Error);
}

TEST(WireWriterTest, WritesThePublishedExamples) {
  EXPECT_EQ(written([](WireWriter& out) { out.varint(1, 150); }), "\x08\x96\x01");
  EXPECT_EQ(written([](WireWriter& out) { out.text(2, "testing"); }), "\x12\x07testing");
  EXPECT_EQ(written([](WireWriter& out) { out.message(3, [&] { out.varint(1, 150); }); }),
            "\x1a\x03\x08\x96\x01");
}

TEST(WireWriterTest, NumbersSurvive) {
  std::mt19937_64 random(1);
  std::vector<int64_t> numbers = {0, 1, -1, 127, 128, INT64_MIN, INT64_MAX};
  for (int shift = 0; shift < 64; ++shift) numbers.push_back(int64_t(random() >> shift));
  const std::string message = written([&](WireWriter& out) {
    for (const int64_t number : numbers) out.integer(1000, number);
    out.fixed32(3, 1.5f);
  });
  size_t at = 0;
  for (WireReader in(bytes_of(message)); in.next();) {
    if (in.field() == 3) {
      EXPECT_EQ(in.as_float(), 1.5f);
    } else {
      EXPECT_EQ(in.field(), 1000u);
      EXPECT_EQ(in.as_int64(), numbers.at(at++));
    }
  }
  EXPECT_EQ(at, numbers.size());
}

// Messages in messages, some beyond the buffer and with lengths of one to four bytes.
TEST(WireWriterTest, NestedMessagesSurvive) {
  const std::vector<size_t> sizes = {0, 1, 127, 128, 16383, 16384, 70000, 3000000};
  const std::string message = written([&](WireWriter& out) {
    for (const size_t size : sizes) {
      out.message(1, [&] {
        out.message(2, [&] {
          out.stream(3, size, [&](const WireWriter::Sink& sink) {
            const std::vector<std::byte> half(size / 2, std::byte{7});
            sink(half);
            const std::vector<std::byte> rest(size - size / 2, std::byte{9});
            sink(rest);
          });
        });
        out.text(4, "end");
      });
    }
  });
  size_t at = 0;
  for (WireReader in(bytes_of(message)); in.next();) {
    WireReader outer(in.as_bytes());
    ASSERT_TRUE(outer.next());
    WireReader inner(outer.as_bytes());
    ASSERT_TRUE(inner.next());
    const std::string expected =
        std::string(sizes[at] / 2, '\7') + std::string(sizes[at] - sizes[at] / 2, '\t');
    EXPECT_TRUE(inner.as_text() == expected) << sizes[at];
    ASSERT_TRUE(outer.next());
    EXPECT_EQ(outer.as_text(), "end");
    ++at;
  }
  EXPECT_EQ(at, sizes.size());
}

TEST(WireWriterTest, ASecondPassThatDiffersIsABug) {
  WireWriter out;
  out.message(1, [&] { out.varint(1, 1); });
  out.start([](std::span<const std::byte>) {});
  EXPECT_THROW(out.message(1, [&] { out.varint(1, 1000); }), Error);
}

}  // namespace
}  // namespace lathe::io
