// Which products of a lowered graph multiply by weights of 16 bits (docs/adr/0010).
#pragma once

#include <set>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace lathe::opt {

// Values of the attributes `compute` and `weights` of lathe.Linear and lathe.Conv.
struct ProductRounding {
  std::string x = "f32";
  std::string weights = "f32";

  bool none() const { return x == "f32" && weights == "f32"; }
};

// A product that is left in f32 though a rounding was wished for.
struct KeptProduct {
  std::string name;  // of its result
  std::string reason;
};

// The products that may be rounded: weights that are f32 constants of a dense layer or of a convolution, but for
// depthwise ones, which have hardly any weights.
std::vector<ir::NodeId> roundable_products(const ir::Graph& graph);

// Convolutions of 3 x 3, one step at a time, of 64 channels and features or more.
bool is_transformed(const ir::Graph& graph, const ir::Node& product);

// Marks them, but for those whose results are named in `kept` and those whose weights the type does not hold: beyond
// its range, or so small that it loses more of them than it does of others. Returns the latter.
std::vector<KeptProduct> round_products(ir::Graph& graph, const ProductRounding& rounding,
                                        const std::set<std::string>& kept);
// Marks one. A convolution that goes by Winograd's transforms (is_transformed) multiplies sums of its inputs and keeps
// x in f32: it is faster so, and more exact (docs/adr/0010).
void round_product(ir::Graph& graph, ir::NodeId node, const ProductRounding& rounding);

}  // namespace lathe::opt
