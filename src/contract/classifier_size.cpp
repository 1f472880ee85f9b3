#include "contract/classifier_size.h"

#include <algorithm>
#include <initializer_list>

#include "base/error.h"

namespace lathe::contract {
namespace {

constexpr int64_t kLargestSide = 1 << 14;

int64_t check_side(std::string_view key, int64_t value) {
  if (value < 1 || value > kLargestSide) {
    fail(ErrorCode::invalid_input, "{}: expected 1 to {}, found {}", key, kLargestSide, value);
  }
  return value;
}

// A number, or an object that has it under one of the keys.
int64_t side_of(const Json& config, std::string_view key, std::initializer_list<std::string_view> inner) {
  const Json& member = get_member(config, key);
  if (member.is_number_integer()) return check_side(key, member.get<int64_t>());
  for (const std::string_view name : inner) {
    if (member.is_object() && member.contains(name)) return check_side(key, get_int(member, name));
  }
  fail(ErrorCode::invalid_input, "{}: expected a number of pixels, found {}", key, member.dump());
}

}  // namespace

bool classifier_flag(const Json& config, std::string_view key) {
  return find_bool(config, key).value_or(true);
}

ClassifierSize resized_for_classifier(int64_t width, int64_t height, const Json& config) {
  if (!classifier_flag(config, "do_resize")) return {width, height};
  const int64_t side = side_of(config, "size", {"shortest_edge", "height"});
  const int64_t other = side * std::max(width, height) / std::min(width, height);
  return width > height ? ClassifierSize{other, side} : ClassifierSize{side, other};
}

ClassifierSize cropped_for_classifier(ClassifierSize size, const Json& config) {
  if (!classifier_flag(config, "do_center_crop")) return size;
  return {side_of(config, "crop_size", {"width"}), side_of(config, "crop_size", {"height"})};
}

ClassifierSize classifier_size(int64_t width, int64_t height, const std::string& preprocessor_config) {
  const Json config = parse_json(preprocessor_config, "preprocessor_config.json");
  return with_context("preprocessor_config.json", [&] {
    return cropped_for_classifier(resized_for_classifier(width, height, config), config);
  });
}

}  // namespace lathe::contract
