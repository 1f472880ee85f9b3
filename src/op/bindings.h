// Declared types against the data that comes: what fits, and what numbers the symbols stand for.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "op/op.h"

namespace lathe::op {

// "f32[2, 3]", "a sequence of 4", "nothing".
std::string describe(const Datum& datum);
bool is_optional(const TypeInfo& type);
// Whether a value of this type can be that datum, as far as dtypes, forms and ranks tell.
bool fits(const TypeInfo& type, const Datum& datum);

using Bindings = std::map<std::string, int64_t, std::less<>>;
// What the symbols are when inputs of these declared types are given this data; data may be missing. Throws
// invalid_input naming input, expected and found for data that does not fit or binds a symbol twice to different
// numbers, and for names that are not declared; `owner` is whose inputs they are ("graph main").
Bindings bind_inputs(std::string_view owner, const std::map<std::string, const TypeInfo*, std::less<>>& declared,
                     const std::map<std::string, Datum>& data);

}  // namespace lathe::op
