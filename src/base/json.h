// JSON reading with the errors this program wants: which file, which key, expected and found.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace lathe {

using Json = nlohmann::ordered_json;

// Parses text. Throws invalid_input for bad syntax, invalid UTF-8 or nesting deeper than 256; `name` is the
// file or thing the text came from. The last value of a key that comes twice holds. No text takes more than n log n
// time.
Json parse_json(std::string_view text, std::string_view name);
Json read_json_file(const std::filesystem::path& path);

// Typed member access on an object. find_x: absent or null gives nullopt; get_x: absence is invalid_input.
// A member of another type is invalid_input with expected and found in both.
std::optional<int64_t> find_int(const Json& object, std::string_view key);
std::optional<double> find_number(const Json& object, std::string_view key);
std::optional<bool> find_bool(const Json& object, std::string_view key);
std::optional<std::string> find_string(const Json& object, std::string_view key);
const Json* find_member(const Json& object, std::string_view key);  // nullptr when absent or null
int64_t get_int(const Json& object, std::string_view key);
double get_number(const Json& object, std::string_view key);
std::string get_string(const Json& object, std::string_view key);
const Json& get_member(const Json& object, std::string_view key);

}  // namespace lathe
