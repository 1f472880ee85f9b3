// A picture of a graph: nodes in layers, from the inputs at the top to the outputs at the bottom.
#pragma once

#include <string>

#include "ir/graph.h"

namespace lathe::frontend {

// Nodes up to which a picture is drawn.
constexpr size_t kMaxDrawnNodes = 4000;

// SVG 1.1. Each node is a box with its operator, the type of its first result and the shapes of its weights, in the
// layer behind the last of those that it reads (longest path); its name and attributes are its tooltip. All text from
// the graph is escaped. Deterministic. Throws unsupported, with the numbers, for more than kMaxDrawnNodes nodes.
std::string to_svg(const ir::Graph& graph);

// The picture in a page that scrolls and zooms, with `title` as heading. Needs nothing from elsewhere.
std::string to_html(const ir::Graph& graph, const std::string& title);

}  // namespace lathe::frontend
