#include "plan/graph_engine.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"

namespace lathe::plan {

std::vector<std::string> describe(const std::vector<Island>& islands) {
  constexpr size_t kNamed = 3;
  std::vector<std::pair<std::string, std::vector<std::string>>> reasons;  // in the order of their first products
  for (const Island& island : islands) {
    auto it =
        std::find_if(reasons.begin(), reasons.end(), [&](const auto& entry) { return entry.first == island.reason; });
    if (it == reasons.end()) it = reasons.insert(reasons.end(), {island.reason, {}});
    it->second.push_back(fmt::format("\"{}\"", island.name));
  }
  std::vector<std::string> lines;
  for (auto& [reason, names] : reasons) {
    const size_t more = names.size() > kNamed + 1 ? names.size() - kNamed : 0;
    names.resize(names.size() - more);
    const std::string rest = more > 0 ? fmt::format(" and {} more", more) : "";
    lines.push_back(fmt::format("{}{}: {}", fmt::join(names, ", "), rest, reason));
  }
  return lines;
}

const EngineGraph& get_graph(const std::vector<EngineGraph>& graphs, std::string_view name) {
  if (name.empty() && graphs.size() == 1) return graphs[0];
  const std::string_view wanted = name.empty() ? "main" : name;
  std::vector<std::string_view> names;
  for (const EngineGraph& graph : graphs) {
    if (graph.name == wanted) return graph;
    names.push_back(graph.name);
  }
  fail(ErrorCode::not_found, "no graph \"{}\" in the engine, which has: {}", wanted, fmt::join(names, ", "));
}

void check_profile(const std::vector<InputProfile>& profile, std::string_view input, const tensor::Dims& dims) {
  const auto it = std::find_if(profile.begin(), profile.end(), [&](const auto& entry) { return entry.name == input; });
  if (it == profile.end()) return;
  bool inside = dims.size() == it->min.size() && dims.size() == it->max.size();
  for (size_t i = 0; inside && i < dims.size(); ++i) inside = it->min[i] <= dims[i] && dims[i] <= it->max[i];
  if (inside) return;
  fail(ErrorCode::invalid_input, "input \"{}\": the engine was built for {} to {}, found {}", input,
       tensor::to_string(std::span<const int64_t>(it->min)), tensor::to_string(std::span<const int64_t>(it->max)),
       tensor::to_string(std::span<const int64_t>(dims)));
}

}  // namespace lathe::plan
