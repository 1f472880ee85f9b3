// The protobuf wire format: reading over a span without copies, writing in one stream with known lengths.
//
// Only what schemas of today use: varint, 4-byte, 8-byte and length-delimited fields. Groups are refused.
// Lengths are 64-bit throughout, so messages above 2 GB, which the protobuf libraries refuse, can be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace lathe::io {

enum class WireType : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// Walks the fields of one message. Every malformed byte is Error{invalid_input}; unknown fields are skipped
// by simply calling next() again. Nested messages are read by another WireReader over as_bytes(): whoever
// recurses limits the depth.
//
//   for (WireReader fields(message); fields.next();) {
//     if (fields.field() == 3) name = fields.as_text();
//   }
class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> message) : rest_(message) {}

  // Moves to the next field; false at the end of the message.
  bool next();

  uint32_t field() const { return field_; }
  WireType type() const { return type_; }

  // The value of the current field. invalid_input when the field has another wire type or is out of range.
  uint64_t as_uint64() const;
  int64_t as_int64() const { return int64_t(as_uint64()); }
  int32_t as_int32() const;
  float as_float() const;
  std::span<const std::byte> as_bytes() const;
  std::string_view as_text() const;

  // The elements of the current field of a repeated scalar, which may be packed (many in one field) or not
  // (one): each is handed to `element`.
  template <class Element>
  void each_varint(Element&& element) const {
    if (type_ == WireType::varint) return element(number_);
    for (std::span<const std::byte> rest = as_bytes(); !rest.empty();) element(take_varint(rest));
  }
  // The same for 4-byte and 8-byte elements, as their stored bytes (little endian): the whole packed run or
  // one.
  std::span<const std::byte> fixed32_run() const { return fixed_run(WireType::fixed32, 4); }
  std::span<const std::byte> fixed64_run() const { return fixed_run(WireType::fixed64, 8); }

 private:
  static uint64_t take_varint(std::span<const std::byte>& rest);
  std::span<const std::byte> fixed_run(WireType single, size_t width) const;
  [[noreturn]] void fail_type(std::string_view expected) const;

  std::span<const std::byte> rest_;
  std::span<const std::byte> bytes_;  // the value of every type but varint
  uint64_t number_ = 0;               // the value of a varint
  uint32_t field_ = 0;
  WireType type_ = WireType::varint;
};

// Writes one message. Lengths stand before their content on the wire, so the same calls are made twice: first
// to measure, then, after start(), to write. Memory is one number per nested message and a small buffer.
//
//   WireWriter writer;
//   describe(writer);              // measures
//   writer.start(sink);            // writer.size() is final
//   describe(writer);              // writes
//   writer.finish();
class WireWriter {
 public:
  using Sink = std::function<void(std::span<const std::byte>)>;

  void start(Sink sink);
  // Hands the rest to the sink; LATHE_CHECKs that the second pass wrote exactly what the first measured.
  void finish();
  // Bytes of the message: what has been measured, during the first pass so far.
  uint64_t size() const { return measuring() ? position_ : measured_; }
  bool measuring() const { return !sink_; }

  void varint(uint32_t field, uint64_t value);
  void integer(uint32_t field, int64_t value) { varint(field, uint64_t(value)); }
  void fixed32(uint32_t field, float value);
  void text(uint32_t field, std::string_view value);
  // A bytes field of `bytes` bytes that `produce` hands over piece by piece; called in the second pass only.
  void stream(uint32_t field, uint64_t bytes, const std::function<void(const Sink&)>& produce);

  template <class Body>
  void message(uint32_t field, Body&& body) {
    const size_t slot = open_message(field);
    const uint64_t before = position_;
    body();
    close_message(slot, before);
  }

 private:
  void put(std::span<const std::byte> bytes);
  void put_varint(uint64_t value);
  void put_tag(uint32_t field, WireType type) { put_varint(uint64_t(field) << 3 | uint64_t(type)); }
  size_t open_message(uint32_t field);
  void close_message(size_t slot, uint64_t before);
  void flush();

  Sink sink_;
  std::vector<uint64_t> lengths_;  // of nested messages, in the order they are opened
  size_t next_length_ = 0;
  uint64_t position_ = 0;
  uint64_t measured_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace lathe::io
