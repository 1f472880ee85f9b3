// The lengths at which gate 6 runs a graph: corners of its profile, and places inside.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "opt/fix_lengths.h"
#include "plan/graph_engine.h"

namespace lathe::verify {

struct ProfilePoint {
  std::string what;  // "min", "batch = 1, sequence = 512"
  std::map<std::string, op::TypeInfo> types;
};

// The lengths of all inputs at one end: "min", "opt" or "max".
opt::Lengths profile_lengths(const std::vector<plan::InputProfile>& profile, std::string_view end);

// min, opt and max; where lengths are symbols, all corners of up to `corner_symbols` of them, and `inside` points that
// are always the same ones. Each once.
std::vector<ProfilePoint> profile_points(const ir::Graph& graph, const std::vector<plan::InputProfile>& profile,
                                         size_t corner_symbols, int inside);

}  // namespace lathe::verify
