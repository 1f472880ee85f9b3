// Two runs of a graph, value by value: what both know by name, the first that differs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "verify/graph_runs.h"
#include "verify/tensor_error.h"

namespace lathe::verify {

struct ValueDifference {
  std::string name;
  TensorError error;
};

struct ValueComparison {
  int64_t compared = 0;  // values that both runs showed
  double worst = 0;      // relative error, the first difference included and what comes behind it not
  std::string worst_name;
  std::optional<ValueDifference> first;  // beyond the bound
};

struct CompareValuesOptions {
  double bound = 0;
  size_t memory_bytes = size_t{1} << 30;  // of values that are kept for comparison at a time
};

// Each of `found` against `expected` on the same inputs. `order`: the names of results of the expected graph,
// topologically; the first difference is first in it. Runs as often as memory makes necessary: the values are compared
// in portions. A run of `found` ends with its first difference.
std::vector<ValueComparison> compare_values(const GraphRun& expected, std::span<const GraphRun> found,
                                            const GraphData& inputs, std::span<const std::string> order,
                                            const CompareValuesOptions& options);

// The names of the results of a graph's nodes, in order.
std::vector<std::string> result_names(const ir::Graph& graph);

}  // namespace lathe::verify
