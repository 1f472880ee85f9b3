// A graph of floats written as one that rounds to 8 bits where it multiplies: QuantizeLinear and DequantizeLinear, as
// every tool reads them (docs/adr/0011).
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "opt/quantize_weights.h"

namespace lathe::opt {

// What the elements of a value lie in.
struct Range {
  double low = 0;
  double high = 0;
};
using Ranges = std::map<std::string, Range, std::less<>>;

// u8 numbers q that stand for scale * (q - zero). 0 is exact; a range of nothing but 0 has scale 1.
struct ByteScale {
  float scale = 1;
  int zero = 0;
};
ByteScale byte_scale(const Range& range);

// What was decided of a node that multiplies floats.
struct QuantizedPlace {
  std::string node;   // its name, or that of its result
  std::string value;  // its result, which both graphs know by this name
  std::string op;
  std::string kept;  // why it stays in floats; empty: it does not
};

struct QuantizeOptions {
  std::map<std::string, std::string, std::less<>> keep = {};  // nodes (by name, or that of the result): reason
  // Weights that were rounded already, for who quantises a graph more than once; null: none are kept.
  std::shared_ptr<WeightCache> weights = {};
};

// Folds what would distort the scales of weights, or hides them: constants, normalisations, factors and terms behind
// convolutions, transpositions of matrices.
void prepare_quantization(ir::Graph& graph);
// The values whose ranges quantize() needs, by name: what enters Conv, Gemm and MatMul with constant weights, and what
// sums between them add.
std::vector<std::string> activations_to_quantize(const ir::Graph& graph, const QuantizeOptions& options = {});
// Every Conv, Gemm and MatMul in order, quantised or not. Throws usage for a name in `keep` that is none of them;
// invalid_input for a value without a range, and for ranges and weights that are not finite, naming them.
std::vector<QuantizedPlace> quantize(ir::Graph& graph, const Ranges& ranges, const QuantizeOptions& options = {});

// Lets all that reads a value rounded to 8 bits and back read the value itself; weights keep what they were rounded to.
void remove_rounding(ir::Graph& graph);

}  // namespace lathe::opt
