// Checked mode: runs a graph through the reference executor after each change and compares.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace lathe::opt {

// Small inputs that depend on nothing but the graph's input names and types: symbols are bound to different
// small numbers, floats lie in [-1, 1), integers and booleans are 0 or 1.
std::map<std::string, tensor::Tensor> generate_inputs(const ir::Graph& graph);

// Fills a tensor so: a function of `name` and the index only.
void fill_with_noise(tensor::Tensor& tensor, std::string_view name);

// Holds the outputs of the first graph and of the last that was accepted.
class NumericCheck {
 public:
  // Evaluates `graph`. Empty `inputs` are generated.
  NumericCheck(const ir::Graph& graph, std::map<std::string, tensor::Tensor> inputs);

  // Evaluates `graph` and compares with the last accepted one, and with the first, so that many small changes do not
  // add up (there the largest tolerance so far counts): same outputs in the same order, same dtypes
  // and dims; floats within tolerance * (largest finite magnitude of the output), at least 1e-6, in f16 and bf16 at
  // least two units in the last place of that magnitude; NaN and infinities in the same places; everything else
  // equal. Throws verification naming `who`, output, index, expected, found.
  void accept(const ir::Graph& graph, std::string_view who, double tolerance);

 private:
  std::map<std::string, tensor::Tensor> inputs_;
  std::vector<std::string> names_;
  std::map<std::string, tensor::Tensor> outputs_;
  std::map<std::string, tensor::Tensor> first_;
  double largest_tolerance_ = 0;
};

}  // namespace lathe::opt
