#include "base/json.h"

#include "base/error.h"
#include "base/file.h"

namespace lathe {
namespace {

constexpr int kMaxDepth = 256;

[[noreturn]] void fail_type(std::string_view key, std::string_view expected, const Json& found) {
  fail(ErrorCode::invalid_input, "key \"{}\": expected {}, found {}", key, expected, found.type_name());
}

template <class T>
T require(std::optional<T> value, std::string_view key) {
  if (!value) fail(ErrorCode::invalid_input, "missing key \"{}\"", key);
  return *std::move(value);
}

}  // namespace

Json parse_json(std::string_view text, std::string_view name) {
  // nlohmann parses without recursion; the limit keeps later recursive users (and destructors) safe.
  bool too_deep = false;
  const Json::parser_callback_t watch_depth = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) too_deep = true;
    return !too_deep;
  };
  Json json;
  try {
    json = Json::parse(text, watch_depth);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::invalid_input, "{}: not valid JSON: {}", name, error.what());
  }
  if (too_deep) fail(ErrorCode::invalid_input, "{}: JSON nested deeper than {}", name, kMaxDepth);
  return json;
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_text_file(path), path.string());
}

const Json* find_member(const Json& object, std::string_view key) {
  if (!object.is_object()) fail(ErrorCode::invalid_input, "expected an object, found {}", object.type_name());
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::optional<int64_t> find_int(const Json& object, std::string_view key) {
  const Json* member = find_member(object, key);
  if (!member) return std::nullopt;
  if (!member->is_number_integer()) fail_type(key, "integer", *member);
  if (member->is_number_unsigned() && member->get<uint64_t>() > uint64_t(INT64_MAX)) {
    fail(ErrorCode::invalid_input, "key \"{}\": {} is out of range", key, member->get<uint64_t>());
  }
  return member->get<int64_t>();
}

std::optional<double> find_number(const Json& object, std::string_view key) {
  const Json* member = find_member(object, key);
  if (!member) return std::nullopt;
  if (!member->is_number()) fail_type(key, "number", *member);
  return member->get<double>();
}

std::optional<bool> find_bool(const Json& object, std::string_view key) {
  const Json* member = find_member(object, key);
  if (!member) return std::nullopt;
  if (!member->is_boolean()) fail_type(key, "boolean", *member);
  return member->get<bool>();
}

std::optional<std::string> find_string(const Json& object, std::string_view key) {
  const Json* member = find_member(object, key);
  if (!member) return std::nullopt;
  if (!member->is_string()) fail_type(key, "string", *member);
  return member->get<std::string>();
}

int64_t get_int(const Json& object, std::string_view key) { return require(find_int(object, key), key); }
double get_number(const Json& object, std::string_view key) { return require(find_number(object, key), key); }
std::string get_string(const Json& object, std::string_view key) {
  return require(find_string(object, key), key);
}

const Json& get_member(const Json& object, std::string_view key) {
  const Json* member = find_member(object, key);
  if (!member) fail(ErrorCode::invalid_input, "missing key \"{}\"", key);
  return *member;
}

}  // namespace lathe
