#include "base/json.h"

#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace lathe {
namespace {

constexpr size_t kMaxDepth = 256;  // keeps recursive users (and destructors) safe

// Builds the values of a text. The library's own builder looks through all members of an object for each key, and
// through all elements of an array after each object in it.
class Builder final : public Json::json_sax_t {
 public:
  Json root;
  bool too_deep = false;
  std::string what;  // is wrong with the text

  bool key(string_t& name) override {
    Level& level = levels_.back();
    auto& members = level.value->get_ref<Json::object_t&>();
    const auto [place, added] = find_place(level, members, name);
    level.place = place;
    if (added) members.emplace_back(name, nullptr);  // a second value of a key takes the place of the first
    return true;
  }

  bool null() override { return add(nullptr) != nullptr; }
  bool boolean(bool value) override { return add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override { return add(value) != nullptr; }
  bool string(string_t& value) override { return add(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return false; }  // text has none

  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) override {
    what = error.what();
    return false;
  }

 private:
  // A few members are faster to look through than to index.
  static constexpr size_t kFewMembers = 16;

  struct Level {
    Json* value;                           // stays where it is: its parents do not grow while it is open
    size_t place = 0;                      // of the member whose value comes next
    std::map<std::string, size_t> places;  // of all members, where they are not few; no key can slow it down
  };

  // Where the member `name` is, or is to be added (true).
  static std::pair<size_t, bool> find_place(Level& level, const Json::object_t& members, const std::string& name) {
    if (members.size() < kFewMembers) {
      const auto it = members.find(name);
      return {size_t(it - members.begin()), it == members.end()};
    }
    if (level.places.empty()) {
      for (const auto& member : members) level.places.emplace(member.first, level.places.size());
    }
    const auto [it, added] = level.places.emplace(name, members.size());
    return {it->second, added};
  }

  template <class T>
  Json* add(T&& value) {
    if (levels_.empty()) {
      root = std::forward<T>(value);
      return &root;
    }
    Level& level = levels_.back();
    if (level.value->is_array()) {
      level.value->push_back(std::forward<T>(value));
      return &level.value->back();
    }
    Json& member = (level.value->get_ref<Json::object_t&>().begin() + ptrdiff_t(level.place))->second;
    member = std::forward<T>(value);
    return &member;
  }

  bool open(Json&& container) {
    too_deep = levels_.size() >= kMaxDepth;
    if (too_deep) return false;
    levels_.push_back({add(std::move(container)), 0, {}});
    return true;
  }
  bool close() {
    levels_.pop_back();
    return true;
  }

  std::vector<Level> levels_;  // the open containers
};

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
  Builder builder;
  if (Json::sax_parse(text, &builder)) return std::move(builder.root);
  if (builder.too_deep) fail(ErrorCode::invalid_input, "{}: JSON nested deeper than {}", name, kMaxDepth);
  fail(ErrorCode::invalid_input, "{}: not valid JSON: {}", name, builder.what);
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

int64_t get_int(const Json& object, std::string_view key) {
  return require(find_int(object, key), key);
}
double get_number(const Json& object, std::string_view key) {
  return require(find_number(object, key), key);
}
std::string get_string(const Json& object, std::string_view key) {
  return require(find_string(object, key), key);
}

const Json& get_member(const Json& object, std::string_view key) {
  const Json* member = find_member(object, key);
  if (!member) fail(ErrorCode::invalid_input, "missing key \"{}\"", key);
  return *member;
}

}  // namespace lathe
