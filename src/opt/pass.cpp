#include "opt/pass.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace lathe::opt {

#include "opt_passes_declarations.inc"

namespace {

using PassFunction = const Pass& (*)();

constexpr PassFunction kFunctions[] = {
#include "opt_passes_entries.inc"
};

}  // namespace

std::string_view to_string(Level level) {
  constexpr std::array<std::string_view, 5> kNames = {"O0", "O1", "O2", "O3", "O4"};
  return kNames.at(size_t(level));
}

std::vector<const Pass*> all_passes() {
  std::vector<const Pass*> passes;
  for (const PassFunction function : kFunctions) passes.push_back(&function());
  return passes;
}

const Pass* find_pass(std::string_view name) {
  for (const PassFunction function : kFunctions) {
    if (function().name == name) return &function();
  }
  return nullptr;
}

const Pass& get_pass(std::string_view name) {
  const Pass* pass = find_pass(name);
  if (!pass) fail(ErrorCode::not_found, "no pass is called \"{}\"", name);
  return *pass;
}

bool erase_if_dead(ir::Graph& graph, ir::NodeId node) {
  std::vector<ir::NodeId> pending = {node};
  while (!pending.empty()) {
    const ir::NodeId id = pending.back();
    pending.pop_back();
    if (!graph.contains(id)) continue;
    const auto& outputs = graph.node(id).outputs;
    const bool used = std::any_of(outputs.begin(), outputs.end(), [&](ir::Value value) {
      return value && (!graph.users(value).empty() || graph.is_output(value));
    });
    if (used) continue;
    for (const ir::Value input : graph.node(id).inputs) {
      if (input && graph.producer(input)) pending.push_back(graph.producer(input));
    }
    graph.erase(id);
  }
  return !graph.contains(node);
}

}  // namespace lathe::opt
