// Little-endian numbers out of untrusted bytes, one after another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "base/error.h"

namespace lathe::io {

// Every read checks what is left. Throws invalid_input saying that `what` ends too early.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view what)
      : rest_(bytes), size_(bytes.size()), what_(what) {}

  size_t left() const { return rest_.size(); }
  size_t position() const { return size_ - rest_.size(); }

  std::span<const std::byte> take(uint64_t count) {
    if (count > rest_.size()) {
      fail(ErrorCode::invalid_input, "{} ends at byte {}: {} more were expected", what_, size_, count - rest_.size());
    }
    const auto part = rest_.first(size_t(count));
    rest_ = rest_.subspan(size_t(count));
    return part;
  }
  void skip(uint64_t count) { take(count); }
  std::string_view text(uint64_t count) {
    const auto part = take(count);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  uint8_t u8() { return number<uint8_t>(); }
  uint16_t u16() { return number<uint16_t>(); }
  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u64() { return number<uint64_t>(); }

 private:
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::span<const std::byte> rest_;
  size_t size_;
  std::string_view what_;
};

}  // namespace lathe::io
