#include "frontend/component.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::frontend {

#include "frontend_component_declarations.inc"

namespace {

// _class_name (diffusers), else the first of architectures (transformers).
std::string class_of(const Json& config) {
  if (const auto name = find_string(config, "_class_name")) return *name;
  const Json* architectures = find_member(config, "architectures");
  if (architectures && architectures->is_array() && !architectures->empty() && (*architectures)[0].is_string()) {
    return (*architectures)[0].get<std::string>();
  }
  fail(ErrorCode::invalid_input, "config.json names no class (_class_name or architectures)");
}

}  // namespace

std::span<const Component* const> all_components() {
  using Getter = const Component& (*)();
  static constexpr Getter kGetters[] = {
#include "frontend_component_entries.inc"
  };
  static const auto kTable = [] {
    std::vector<const Component*> table;
    for (const Getter getter : kGetters) table.push_back(&getter());
    return table;
  }();
  return kTable;
}

const Component& get_component(const Json& config) {
  const std::string name = class_of(config);
  std::string known;
  for (const Component* component : all_components()) {
    for (const std::string_view known_name : component->class_names) {
      if (known_name == name) return *component;
      known += (known.empty() ? "" : ", ") + std::string(known_name);
    }
  }
  fail(ErrorCode::unsupported, "models of class \"{}\" are not supported (known: {})", name, known);
}

GraphMap build_component(const ComponentInput& input, const ComponentOptions& options) {
  return with_context(input.role, [&] { return get_component(input.config).build(input, options); });
}

std::vector<int64_t> get_ints(const Json& config, std::string_view key, int64_t count) {
  const Json& member = get_member(config, key);
  if (member.is_number_integer()) return std::vector<int64_t>(size_t(count), member.get<int64_t>());
  if (!member.is_array() || int64_t(member.size()) != count ||
      !std::all_of(member.begin(), member.end(), [](const Json& item) { return item.is_number_integer(); })) {
    fail(ErrorCode::invalid_input, "config: {} is {}, expected a whole number or {} of them", key, member.dump(),
         count);
  }
  return member.get<std::vector<int64_t>>();
}

std::vector<int64_t> find_ints(const Json& config, std::string_view key, int64_t count, int64_t otherwise) {
  return find_member(config, key) ? get_ints(config, key, count) : std::vector<int64_t>(size_t(count), otherwise);
}

std::vector<std::string> get_strings(const Json& config, std::string_view key) {
  const Json& member = get_member(config, key);
  if (!member.is_array() ||
      !std::all_of(member.begin(), member.end(), [](const Json& item) { return item.is_string(); })) {
    fail(ErrorCode::invalid_input, "config: {} is {}, expected a list of names", key, member.dump());
  }
  return member.get<std::vector<std::string>>();
}

void refuse_unless(const Json& config, std::string_view key, const Json& plain) {
  const Json* member = find_member(config, key);
  if (!member || *member == plain || *member == Json(false)) return;
  fail(ErrorCode::unsupported, "config: {} = {} is not supported", key, member->dump());
}

int64_t check_size(std::string_view key, int64_t value, int64_t limit) {
  if (value < 1 || value > limit) {
    fail(ErrorCode::invalid_input, "config: {} is {}, expected 1 to {}", key, value, limit);
  }
  return value;
}

}  // namespace lathe::frontend
