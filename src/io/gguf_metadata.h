// The metadata of a GGUF file: typed values that are views into the file.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lathe::io {

// Numbers of the file format.
enum class GgufType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};
std::string_view to_string(GgufType type);  // "u8", "bool", "string", "array"

// One metadata value, a view into the file. An array holds values of one type; nested arrays are kept as
// values.
class GgufValue {
 public:
  GgufType type() const { return type_; }
  bool is_array() const { return type_ == GgufType::array; }
  GgufType element_type() const { return element_type_; }  // of an array; otherwise type()
  size_t size() const { return size_; }                    // elements of an array; otherwise 1

  // The value, if it is of that kind: any integer width that fits int64_t; f32 or f64; nullopt otherwise.
  std::optional<int64_t> as_int() const;
  std::optional<double> as_float() const;
  std::optional<bool> as_bool() const;
  std::optional<std::string_view> as_string() const;
  // The elements, if it is an array of that kind (empty arrays are of every kind).
  std::optional<std::vector<int64_t>> as_ints() const;
  std::optional<std::vector<float>> as_floats() const;  // of f32 or f64
  std::optional<std::vector<bool>> as_bools() const;
  std::optional<std::span<const std::string_view>> as_strings() const;  // no copy: views into the file
  std::span<const GgufValue> as_arrays() const { return arrays_; }      // of an array of arrays

 private:
  friend class GgufReader;
  template <class T>
  std::optional<std::vector<T>> list(std::optional<T> (GgufValue::*read)(size_t) const) const;
  std::optional<int64_t> int_at(size_t index) const;
  std::optional<double> float_at(size_t index) const;
  std::optional<bool> bool_at(size_t index) const;

  GgufType type_ = GgufType::u8;
  GgufType element_type_ = GgufType::u8;
  size_t size_ = 1;
  std::span<const std::byte> raw_;  // numbers and bools, as in the file
  std::vector<std::string_view> strings_;
  std::vector<GgufValue> arrays_;
};

// The metadata of a file, in file order. find_x: nullopt when absent; get_x: absence is invalid_input. A
// value of another kind is invalid_input with expected and found in both. Views live as long as the file's
// bytes.
class GgufMetadata {
 public:
  struct Entry {
    std::string_view key;
    GgufValue value;
  };

  size_t size() const { return entries_.size(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  const GgufValue* find(std::string_view key) const;  // nullptr when absent
  const GgufValue& get(std::string_view key) const;

  std::optional<int64_t> find_int(std::string_view key) const;
  std::optional<double> find_float(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::string_view> find_string(std::string_view key) const;
  std::optional<std::vector<int64_t>> find_ints(std::string_view key) const;
  std::optional<std::vector<float>> find_floats(std::string_view key) const;
  std::optional<std::vector<bool>> find_bools(std::string_view key) const;
  std::optional<std::span<const std::string_view>> find_strings(std::string_view key) const;
  int64_t get_int(std::string_view key) const;
  double get_float(std::string_view key) const;
  bool get_bool(std::string_view key) const;
  std::string_view get_string(std::string_view key) const;
  std::vector<int64_t> get_ints(std::string_view key) const;
  std::vector<float> get_floats(std::string_view key) const;
  std::vector<bool> get_bools(std::string_view key) const;
  std::span<const std::string_view> get_strings(std::string_view key) const;

  // Used by the parser. Throws invalid_input when the key is taken.
  void add(std::string_view key, GgufValue value);

 private:
  template <class T>
  std::optional<T> find_as(std::string_view key, std::optional<T> (GgufValue::*as)() const,
                           std::string_view expected) const;

  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace lathe::io
