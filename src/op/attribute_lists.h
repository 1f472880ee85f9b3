// Attributes that are lists of reals or of texts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "op/attributes.h"

namespace lathe::op {

// nullptr when there is none. Of the kind that the operator's definition says (check_signature has seen to it).
template <class T>
const std::vector<T>* find_list(const Attributes& attributes, std::string_view name) {
  for (const auto& [key, value] : attributes) {
    if (key == name) return std::get_if<std::vector<T>>(&value);
  }
  return nullptr;
}

// Empty when there is none.
template <class T>
const std::vector<T>& get_list(const Attributes& attributes, std::string_view name) {
  static const std::vector<T> empty;
  const std::vector<T>* list = find_list<T>(attributes, name);
  return list ? *list : empty;
}

}  // namespace lathe::op
