// JSON for plain structs from one list of their fields.
//
// A struct lists its fields once:
//   struct Window {
//     int64_t size = 0;
//     std::optional<double> scale;
//     template <class V>
//     void visit_fields(V& visitor) {
//       visitor("size", size, "positions a token sees");  // the third argument, a comment, may be left out
//       visitor("scale", scale);
//     }
//   };
// Fields may be bool, integers, floats, std::string, enums, such structs, and optionals, vectors and
// string-keyed maps of these. An enum needs two functions beside it, found by its namespace:
//   std::string_view to_string(E);
//   bool from_string(std::string_view text, E& value);  // false: no such name
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/checked.h"
#include "base/error.h"
#include "base/json.h"

namespace lathe {

// All fields, in the order of the list. An empty optional is null. Throws invalid_input naming the field for
// a float that JSON cannot hold (infinite, NaN).
template <class T>
Json to_json(const T& value);

// Reads `json` into `value`. Unknown keys are ignored, missing keys leave the field as it is; a value of
// another type or out of range is invalid_input naming the field. On failure `value` is partly read.
template <class T>
void from_json(const Json& json, T& value);

namespace fields {

struct AnyVisitor {
  template <class T>
  void operator()(std::string_view, T&, std::string_view = {}) {}
};
template <class T>
concept Struct = requires(T& value, AnyVisitor& visitor) { value.visit_fields(visitor); };

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class T>
struct IsMap<std::map<std::string, T>> : std::true_type {};

[[noreturn]] inline void fail_type(std::string_view expected, const Json& found) {
  fail(ErrorCode::invalid_input, "expected {}, found {}", expected, found.type_name());
}

inline bool is_finite(double value) {
  return value - value == 0;
}

struct Writer {
  Json object = Json::object();
  template <class T>
  void operator()(std::string_view name, const T& field, std::string_view = {}) {
    object[std::string(name)] = with_context(name, [&] { return to_json(field); });
  }
};

struct Reader {
  const Json& object;
  template <class T>
  void operator()(std::string_view name, T& field, std::string_view = {}) {
    const auto it = object.find(name);
    if (it == object.end()) return;
    with_context(name, [&] { from_json(*it, field); });
  }
};

template <class T>
void read_integer(const Json& json, T& value) {
  if (!json.is_number_integer()) fail_type("integer", json);
  if (json.is_number_unsigned())
    value = checked_cast<T>(json.get<uint64_t>(), "value");
  else
    value = checked_cast<T>(json.get<int64_t>(), "value");
}

template <class T>
void read_enum(const Json& json, T& value) {
  if (!json.is_string()) fail_type("string", json);
  const auto text = json.get<std::string>();
  if (!from_string(text, value)) fail(ErrorCode::invalid_input, "unknown value \"{}\"", text);
}

template <class T>
void read_vector(const Json& json, std::vector<T>& values) {
  if (!json.is_array()) fail_type("array", json);
  values.clear();
  for (size_t i = 0; i < json.size(); ++i) {
    T value{};  // vector<bool> has no references to elements
    with_context(fmt::format("[{}]", i), [&] { from_json(json[i], value); });
    values.push_back(std::move(value));
  }
}

template <class T>
void read_map(const Json& json, std::map<std::string, T>& values) {
  if (!json.is_object()) fail_type("object", json);
  values.clear();
  for (const auto& [key, member] : json.items()) {
    with_context(key, [&, &m = member] { from_json(m, values[key]); });
  }
}

}  // namespace fields

template <class T>
Json to_json(const T& value) {
  if constexpr (fields::Struct<T>) {
    fields::Writer writer;
    const_cast<T&>(value).visit_fields(writer);  // one list for reading and writing; Writer only reads
    return std::move(writer.object);
  } else if constexpr (fields::IsOptional<T>::value) {
    return value ? to_json(*value) : Json(nullptr);
  } else if constexpr (fields::IsVector<T>::value) {
    Json array = Json::array();
    for (const auto& item : value) array.push_back(to_json<typename T::value_type>(item));
    return array;
  } else if constexpr (fields::IsMap<T>::value) {
    Json object = Json::object();
    for (const auto& [key, item] : value) object[key] = with_context(key, [&] { return to_json(item); });
    return object;
  } else if constexpr (std::is_enum_v<T>) {
    return Json(std::string(to_string(value)));
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!fields::is_finite(double(value)))
      fail(ErrorCode::invalid_input, "{} cannot be written as JSON", value);
    return Json(double(value));
  } else {
    static_assert(std::is_integral_v<T> || std::is_same_v<T, std::string>, "no JSON for this type of field");
    return Json(value);
  }
}

template <class T>
void from_json(const Json& json, T& value) {
  if constexpr (fields::Struct<T>) {
    if (!json.is_object()) fields::fail_type("object", json);
    fields::Reader reader{json};
    value.visit_fields(reader);
  } else if constexpr (fields::IsOptional<T>::value) {
    if (json.is_null()) return value.reset();
    typename T::value_type inner{};
    from_json(json, inner);
    value = std::move(inner);
  } else if constexpr (fields::IsVector<T>::value) {
    fields::read_vector(json, value);
  } else if constexpr (fields::IsMap<T>::value) {
    fields::read_map(json, value);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_boolean()) fields::fail_type("boolean", json);
    value = json.template get<bool>();
  } else if constexpr (std::is_enum_v<T>) {
    fields::read_enum(json, value);
  } else if constexpr (std::is_integral_v<T>) {
    fields::read_integer(json, value);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!json.is_number()) fields::fail_type("number", json);
    value = json.template get<T>();
  } else {
    static_assert(std::is_same_v<T, std::string>, "no JSON for this type of field");
    if (!json.is_string()) fields::fail_type("string", json);
    value = json.template get<std::string>();
  }
}

}  // namespace lathe
