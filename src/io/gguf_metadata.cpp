#include "io/gguf_metadata.h"

#include <array>
#include <cstring>

#include "base/error.h"

namespace lathe::io {
namespace {

template <class T>
T load(const std::byte* in) {
  T value;
  std::memcpy(&value, in, sizeof(T));
  return value;
}

}  // namespace

std::string_view to_string(GgufType type) {
  constexpr std::array<std::string_view, 13> kNames = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                       "bool", "string", "array", "u64", "i64", "f64"};
  return size_t(type) < kNames.size() ? kNames[size_t(type)] : "unknown";
}

std::optional<int64_t> GgufValue::int_at(size_t index) const {
  const auto at = [&]<class T>(T) { return load<T>(raw_.data() + index * sizeof(T)); };
  switch (element_type_) {
    case GgufType::u8:
      return at(uint8_t{});
    case GgufType::i8:
      return at(int8_t{});
    case GgufType::u16:
      return at(uint16_t{});
    case GgufType::i16:
      return at(int16_t{});
    case GgufType::u32:
      return at(uint32_t{});
    case GgufType::i32:
      return at(int32_t{});
    case GgufType::i64:
      return at(int64_t{});
    case GgufType::u64: {
      const uint64_t value = at(uint64_t{});
      if (value > uint64_t(INT64_MAX)) return std::nullopt;
      return int64_t(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> GgufValue::float_at(size_t index) const {
  if (element_type_ == GgufType::f32) return double(load<float>(raw_.data() + index * 4));
  if (element_type_ == GgufType::f64) return load<double>(raw_.data() + index * 8);
  return std::nullopt;
}

std::optional<bool> GgufValue::bool_at(size_t index) const {
  if (element_type_ != GgufType::boolean) return std::nullopt;
  return raw_[index] != std::byte{0};
}

std::optional<int64_t> GgufValue::as_int() const {
  return is_array() ? std::nullopt : int_at(0);
}
std::optional<double> GgufValue::as_float() const {
  return is_array() ? std::nullopt : float_at(0);
}
std::optional<bool> GgufValue::as_bool() const {
  return is_array() ? std::nullopt : bool_at(0);
}

std::optional<std::string_view> GgufValue::as_string() const {
  if (type_ != GgufType::string) return std::nullopt;
  return strings_[0];
}

template <class T>
std::optional<std::vector<T>> GgufValue::list(std::optional<T> (GgufValue::*read)(size_t) const) const {
  if (!is_array()) return std::nullopt;
  std::vector<T> values;
  values.reserve(raw_.empty() ? 0 : size_);
  for (size_t i = 0; i < size_; ++i) {
    const std::optional<T> value = (this->*read)(i);
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

std::optional<std::vector<int64_t>> GgufValue::as_ints() const {
  return list(&GgufValue::int_at);
}
std::optional<std::vector<bool>> GgufValue::as_bools() const {
  return list(&GgufValue::bool_at);
}

std::optional<std::vector<float>> GgufValue::as_floats() const {
  const auto values = list(&GgufValue::float_at);
  if (!values) return std::nullopt;
  return std::vector<float>(values->begin(), values->end());
}

std::optional<std::span<const std::string_view>> GgufValue::as_strings() const {
  if (!is_array() || (element_type_ != GgufType::string && size_ != 0)) return std::nullopt;
  return std::span<const std::string_view>(strings_);
}

void GgufMetadata::add(std::string_view key, GgufValue value) {
  if (!index_.emplace(key, entries_.size()).second) {
    fail(ErrorCode::invalid_input, "key \"{}\" is there twice", key);
  }
  entries_.push_back({key, std::move(value)});
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto it = index_.find(key);
  return it == index_.end() ? nullptr : &entries_[it->second].value;
}

const GgufValue& GgufMetadata::get(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) fail(ErrorCode::invalid_input, "missing key \"{}\"", key);
  return *value;
}

template <class T>
std::optional<T> GgufMetadata::find_as(std::string_view key, std::optional<T> (GgufValue::*as)() const,
                                       std::string_view expected) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  std::optional<T> result = (value->*as)();
  if (!result) {
    fail(ErrorCode::invalid_input, "key \"{}\": expected {}, found {}{}", key, expected,
         value->is_array() ? "array of " : "", to_string(value->element_type()));
  }
  return result;
}

#define LATHE_GGUF_ACCESSOR(T, name, expected)                             \
  std::optional<T> GgufMetadata::find_##name(std::string_view key) const { \
    return find_as(key, &GgufValue::as_##name, expected);                  \
  }                                                                        \
  T GgufMetadata::get_##name(std::string_view key) const {                 \
    get(key); /* throws when absent */                                     \
    return *find_##name(key);                                              \
  }

LATHE_GGUF_ACCESSOR(int64_t, int, "an integer")
LATHE_GGUF_ACCESSOR(double, float, "f32 or f64")
LATHE_GGUF_ACCESSOR(bool, bool, "bool")
LATHE_GGUF_ACCESSOR(std::string_view, string, "string")
LATHE_GGUF_ACCESSOR(std::vector<int64_t>, ints, "array of integers")
LATHE_GGUF_ACCESSOR(std::vector<float>, floats, "array of f32 or f64")
LATHE_GGUF_ACCESSOR(std::vector<bool>, bools, "array of bool")
LATHE_GGUF_ACCESSOR(std::span<const std::string_view>, strings, "array of string")
#undef LATHE_GGUF_ACCESSOR

}  // namespace lathe::io
