// Writes GGUF version 3 files, for tools and tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "io/gguf_metadata.h"
#include "io/stored_tensor.h"

namespace lathe::io {

// Collects metadata, then writes a file in one go.
//
//   GgufWriter writer;
//   writer.set("general.architecture", "llama").set("llama.block_count", uint32_t{2});
//   writer.set_array("tokenizer.ggml.tokens", tokens).write("model.gguf", tensors);
class GgufWriter {
 public:
  // A power of 2; other than 32 it is stored as general.alignment.
  explicit GgufWriter(uint32_t alignment = 32);

  // T is a fixed-width integer, float, double, bool, or a string. A key set twice is invalid_input.
  template <class T>
  GgufWriter& set(std::string_view key, const T& value) {
    begin(key);
    append_type(type_of<T>());
    append_value(value);
    return *this;
  }
  // `values` is a vector or a span of such values.
  template <class Values>
  GgufWriter& set_array(std::string_view key, const Values& values) {
    using T = typename Values::value_type;
    begin(key);
    append_type(GgufType::array);
    append_type(type_of<T>());
    append_value(uint64_t(values.size()));
    for (const T& value : values) append_value(value);
    return *this;
  }

  // All or nothing, streaming. Throws unsupported for dtypes that GGUF lacks and for more than 4 dimensions.
  void write(const std::filesystem::path& path, std::span<const NamedSource> tensors) const;

 private:
  template <class T>
  static constexpr GgufType type_of() {
    if constexpr (std::is_convertible_v<T, std::string_view>)
      return GgufType::string;
    else if constexpr (std::is_same_v<T, bool>)
      return GgufType::boolean;
    else if constexpr (std::is_same_v<T, uint8_t>)
      return GgufType::u8;
    else if constexpr (std::is_same_v<T, int8_t>)
      return GgufType::i8;
    else if constexpr (std::is_same_v<T, uint16_t>)
      return GgufType::u16;
    else if constexpr (std::is_same_v<T, int16_t>)
      return GgufType::i16;
    else if constexpr (std::is_same_v<T, uint32_t>)
      return GgufType::u32;
    else if constexpr (std::is_same_v<T, int32_t>)
      return GgufType::i32;
    else if constexpr (std::is_same_v<T, float>)
      return GgufType::f32;
    else if constexpr (std::is_same_v<T, uint64_t>)
      return GgufType::u64;
    else if constexpr (std::is_same_v<T, int64_t>)
      return GgufType::i64;
    else {
      static_assert(std::is_same_v<T, double>, "GGUF has no such type");
      return GgufType::f64;
    }
  }

  void begin(std::string_view key);
  void append(const void* data, size_t size);
  void append_type(GgufType type) { append(&type, sizeof(type)); }
  template <class T>
  void append_value(const T& value) {
    if constexpr (std::is_convertible_v<T, std::string_view>)
      append_string(value);
    else
      append(&value, sizeof(value));
  }
  void append_string(std::string_view text);

  uint32_t alignment_;
  std::vector<std::string> keys_;
  std::string metadata_;  // as in the file
};

}  // namespace lathe::io
