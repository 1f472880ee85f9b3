// Reading the arguments of built-in filters, tests, methods and functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/jinja_value.h"

namespace lathe::text::jinja {

// What cannot be done, and the type it cannot be done to.
[[noreturn]] inline void bad(std::string_view what, const Value& value) {
  if (value.is_undefined()) {
    fail(ErrorCode::invalid_input, "chat template: {}: \"{}\" is undefined", what, value.undefined_name());
  }
  fail(ErrorCode::invalid_input, "chat template: {} of a value of type {}", what, value.type_name());
}

// The argument at `index` or called `name`; undefined if it is not given.
inline Value argument(const Arguments& arguments, size_t index, std::string_view name) {
  if (index < arguments.positional.size()) return arguments.positional[index];
  for (const auto& [key, value] : arguments.named) {
    if (key == name) return value;
  }
  return {};
}

inline const std::string& need_string(const Value& value, std::string_view what) {
  if (!value.is_string()) bad(what, value);
  return value.string();
}

inline int64_t integer_or(const Value& value, int64_t fallback) {
  if (value.is_undefined() || value.is_none()) return fallback;
  if (!value.is_int() && !value.is_bool()) bad("an integer argument", value);
  return value.integer();
}

inline bool bool_or(const Value& value, bool fallback) {
  return value.is_undefined() ? fallback : truthy(value);
}
inline std::string string_or(const Value& value, std::string_view fallback) {
  return value.is_undefined() || value.is_none() ? std::string(fallback)
                                                 : need_string(value, "a string argument");
}

inline List list_of(std::vector<Value> items) {
  return {.items = std::move(items)};
}

inline Value strings(const std::vector<std::string>& parts) {
  List list;
  for (const std::string& part : parts) list.items.emplace_back(part);
  return list;
}

}  // namespace lathe::text::jinja
