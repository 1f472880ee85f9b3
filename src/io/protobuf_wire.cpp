#include "io/protobuf_wire.h"

#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/error.h"

static_assert(std::endian::native == std::endian::little, "fixed-width fields are copied as they are");

namespace lathe::io {
namespace {

constexpr size_t kMaxVarintBytes = 10;
constexpr uint32_t kMaxField = (1u << 29) - 1;
constexpr size_t kBufferBytes = size_t{1} << 16;

std::string_view to_string(WireType type) {
  switch (type) {
    case WireType::varint:
      return "varint";
    case WireType::fixed64:
      return "8 bytes";
    case WireType::bytes:
      return "length-delimited";
    case WireType::fixed32:
      return "4 bytes";
  }
  return "unknown";
}

// Encodes `value`, lowest seven bits first; returns how many bytes of `out` it took.
size_t encode_varint(uint64_t value, std::array<std::byte, kMaxVarintBytes>& out) {
  size_t size = 0;
  while (value >= 0x80) {
    out[size++] = std::byte(value | 0x80);
    value >>= 7;
  }
  out[size++] = std::byte(value);
  return size;
}

size_t varint_size(uint64_t value) {
  std::array<std::byte, kMaxVarintBytes> scratch;
  return encode_varint(value, scratch);
}

}  // namespace

uint64_t WireReader::take_varint(std::span<const std::byte>& rest) {
  uint64_t value = 0;
  for (size_t i = 0; i < rest.size() && i < kMaxVarintBytes; ++i) {
    const uint64_t byte = uint64_t(rest[i]);
    if (i == kMaxVarintBytes - 1 && byte > 1) break;  // bits above the 64th
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      rest = rest.subspan(i + 1);
      return value;
    }
  }
  fail(ErrorCode::invalid_input, "protobuf varint is {}",
       rest.size() < kMaxVarintBytes ? "cut off" : "too long");
}

bool WireReader::next() {
  if (rest_.empty()) return false;
  const uint64_t tag = take_varint(rest_);
  if (tag >> 3 == 0 || tag >> 3 > kMaxField) {
    fail(ErrorCode::invalid_input, "protobuf field number {} is not possible", tag >> 3);
  }
  field_ = uint32_t(tag >> 3);
  uint64_t size = 0;
  switch (tag & 7) {
    case uint64_t(WireType::varint):
      type_ = WireType::varint;
      number_ = take_varint(rest_);
      return true;
    case uint64_t(WireType::fixed64):
      size = 8;
      break;
    case uint64_t(WireType::bytes):
      size = take_varint(rest_);
      break;
    case uint64_t(WireType::fixed32):
      size = 4;
      break;
    default:
      fail(ErrorCode::invalid_input, "protobuf field {} has wire type {}", field_, tag & 7);
  }
  type_ = WireType(tag & 7);
  if (size > rest_.size()) {
    fail(ErrorCode::invalid_input, "protobuf field {} has {} bytes, but only {} are left", field_, size,
         rest_.size());
  }
  bytes_ = rest_.first(size_t(size));
  rest_ = rest_.subspan(size_t(size));
  return true;
}

void WireReader::fail_type(std::string_view expected) const {
  fail(ErrorCode::invalid_input, "protobuf field {}: expected {}, found {}", field_, expected,
       to_string(type_));
}

uint64_t WireReader::as_uint64() const {
  if (type_ != WireType::varint) fail_type("varint");
  return number_;
}

int32_t WireReader::as_int32() const {
  const int64_t value = as_int64();
  if (value != int32_t(value)) {
    fail(ErrorCode::invalid_input, "protobuf field {}: {} is not a 32-bit number", field_, value);
  }
  return int32_t(value);
}

float WireReader::as_float() const {
  if (type_ != WireType::fixed32) fail_type("4 bytes");
  float value;
  std::memcpy(&value, bytes_.data(), sizeof value);
  return value;
}

std::span<const std::byte> WireReader::as_bytes() const {
  if (type_ != WireType::bytes) fail_type("length-delimited");
  return bytes_;
}

std::string_view WireReader::as_text() const {
  const std::span<const std::byte> bytes = as_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> WireReader::fixed_run(WireType single, size_t width) const {
  if (type_ == single) return bytes_;
  const std::span<const std::byte> run = as_bytes();
  if (run.size() % width != 0) {
    fail(ErrorCode::invalid_input, "protobuf field {}: {} bytes are not whole elements of {}", field_,
         run.size(), width);
  }
  return run;
}

void WireWriter::start(Sink sink) {
  LATHE_CHECK(measuring() && sink);
  measured_ = std::exchange(position_, 0);
  buffer_.reserve(kBufferBytes);
  sink_ = std::move(sink);
}

void WireWriter::finish() {
  LATHE_CHECK(!measuring() && position_ == measured_ && next_length_ == lengths_.size(),
              "measured {} bytes, wrote {}", measured_, position_);
  flush();
}

void WireWriter::flush() {
  if (!buffer_.empty()) sink_(buffer_);
  buffer_.clear();
}

void WireWriter::put(std::span<const std::byte> bytes) {
  position_ += bytes.size();
  if (measuring()) return;
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() > kBufferBytes) return sink_(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void WireWriter::put_varint(uint64_t value) {
  std::array<std::byte, kMaxVarintBytes> bytes;
  put(std::span(bytes).first(encode_varint(value, bytes)));
}

void WireWriter::varint(uint32_t field, uint64_t value) {
  put_tag(field, WireType::varint);
  put_varint(value);
}

void WireWriter::fixed32(uint32_t field, float value) {
  put_tag(field, WireType::fixed32);
  put(std::as_bytes(std::span(&value, 1)));
}

void WireWriter::text(uint32_t field, std::string_view value) {
  put_tag(field, WireType::bytes);
  put_varint(value.size());
  put(std::as_bytes(std::span(value)));
}

void WireWriter::stream(uint32_t field, uint64_t bytes, const std::function<void(const Sink&)>& produce) {
  put_tag(field, WireType::bytes);
  put_varint(bytes);
  if (measuring()) {
    position_ += bytes;
    return;
  }
  const uint64_t end = position_ + bytes;
  produce([this](std::span<const std::byte> part) { put(part); });
  LATHE_CHECK(position_ == end, "field {}: {} bytes announced, {} too many or missing", field, bytes,
              int64_t(position_ - end));
}

size_t WireWriter::open_message(uint32_t field) {
  put_tag(field, WireType::bytes);
  if (measuring()) {
    lengths_.push_back(0);
    return lengths_.size() - 1;
  }
  LATHE_CHECK(next_length_ < lengths_.size(), "the second pass opens more messages than the first");
  put_varint(lengths_[next_length_]);
  return next_length_++;
}

void WireWriter::close_message(size_t slot, uint64_t before) {
  const uint64_t length = position_ - before;
  if (measuring()) {
    lengths_[slot] = length;
    position_ += varint_size(length);
    return;
  }
  LATHE_CHECK(lengths_[slot] == length, "a message measured {} bytes, then wrote {}", lengths_[slot], length);
}

}  // namespace lathe::io
