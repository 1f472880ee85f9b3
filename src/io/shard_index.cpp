#include "io/shard_index.h"

#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace lathe::io {
namespace {

void check_shard_name(std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.find_first_of(std::string_view("/\\\0", 3)) != name.npos) {
    fail(ErrorCode::invalid_input, "\"{}\" is not a file name", name);
  }
}

// Reads the index of a checkpoint in several files. A DOM whose objects keep their order costs time by the square
// of their members, and there are models of 100,000 tensors.
class IndexReader final : public Json::json_sax_t {
 public:
  std::vector<std::pair<std::string, std::string>> weight_map;  // tensor, file
  bool found = false;

  bool key(string_t& key) override {
    if (depth_ == 1) {
      in_map_ = key == "weight_map";
      if (in_map_ && std::exchange(found, true)) fail(ErrorCode::invalid_input, "\"weight_map\" is there twice");
    } else if (in_map_) {
      if (!names_.insert(key).second) fail(ErrorCode::invalid_input, "weight_map: \"{}\" is there twice", key);
      weight_map.emplace_back(key, "");
    }
    return true;
  }
  bool start_object(size_t) override {
    if (in_map_ && depth_ > 1) return unexpected();
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (in_map_ || depth_ == 0) return unexpected();
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool string(string_t& value) override {
    if (depth_ == 2 && in_map_) {
      weight_map.back().second = value;
      return true;
    }
    return scalar();
  }
  bool null() override { return scalar(); }
  bool boolean(bool) override { return scalar(); }
  bool number_integer(number_integer_t) override { return scalar(); }
  bool number_unsigned(number_unsigned_t) override { return scalar(); }
  bool number_float(number_float_t, const string_t&) override { return scalar(); }
  bool binary(binary_t&) override { return scalar(); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) override {
    fail(ErrorCode::invalid_input, "not valid JSON at byte {}: {}", position, error.what());
  }

 private:
  bool scalar() const { return in_map_ || depth_ == 0 ? unexpected() : true; }
  [[noreturn]] bool unexpected() const {
    if (in_map_ && depth_ > 1) {
      fail(ErrorCode::invalid_input, "weight_map \"{}\": expected a file name", weight_map.back().first);
    }
    fail(ErrorCode::invalid_input, "expected an object with \"weight_map\", an object that names tensors");
  }

  int depth_ = 0;
  bool in_map_ = false;
  std::unordered_set<std::string> names_;
};

}  // namespace

ShardIndex read_shard_index(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  return with_context(path.string(), [&] {
    IndexReader reader;
    Json::sax_parse(text, &reader);
    if (reader.weight_map.empty()) {
      fail(ErrorCode::invalid_input, "expected \"weight_map\" to name tensors, found {}",
           reader.found ? "none" : "no such member");
    }
    ShardIndex index{std::move(reader.weight_map), {}};
    std::unordered_set<std::string_view> known;
    for (const auto& [name, file_name] : index.weight_map) {
      check_shard_name(file_name);
      if (known.insert(file_name).second) index.shards.push_back(file_name);
    }
    return index;
  });
}

void check_shards(const ShardIndex& index, const std::unordered_map<std::string, std::string_view>& found_in) {
  for (const auto& [name, expected] : index.weight_map) {
    const auto it = found_in.find(name);
    if (it == found_in.end()) fail(ErrorCode::invalid_input, "tensor \"{}\" is missing in {}", name, expected);
    if (it->second != expected) {
      fail(ErrorCode::invalid_input, "tensor \"{}\": expected in {}, found in {}", name, expected, it->second);
    }
  }
}

}  // namespace lathe::io
