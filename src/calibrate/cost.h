// What rounding a graph to fewer bits costs on samples.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "calibrate/samples.h"
#include "ir/graph.h"
#include "runtime/graph_session.h"

namespace lathe::calibrate {

// Squares of what should be and of what is beside it, of all elements that were seen.
struct Noise {
  double signal = 0;
  double error = 0;
  double worst = 0;    // largest error of an element
  double largest = 0;  // magnitude
  uint64_t count = 0;

  // Elements that are not finite, as those of a mask, must be the same in both and do not count.
  void add(std::span<const float> expected, std::span<const float> found);
  // 10 log10(signal / error); 200 where nothing differs, -200 where an error is not finite.
  double db() const;
  // The same with the square of the largest magnitude, for each element, instead of the signal.
  double psnr() const;
};

struct NodeCost {
  std::string value;  // its result
  Noise noise;
};

struct OutputCost {
  std::string name;
  Noise noise;
  // Of an output f32[.., n], n > 1: the share of its rows whose largest element is the same.
  std::optional<double> same_largest;
  // Of an output of another type: the share of its elements that are the same; there is no noise.
  std::optional<double> same_elements;
};

// The results of single nodes (`values`: known to both graphs by name), `fed`: values that the node-by-node run of
// `rounded` takes from the run of `floats`, so that what one node costs is its own. Throws what running throws.
std::vector<NodeCost> cost_of_nodes(const ir::Graph& floats, const ir::Graph& rounded,
                                    std::span<const std::string> values, std::span<const std::string> fed,
                                    const Samples& samples, const runtime::GraphOptions& options,
                                    const ProgressSink& progress = null_progress());

// The outputs of both, as they are compiled, each left to itself. Throws verification naming an output with other
// lengths, and one that is not a number where the graph of floats gives it.
std::vector<OutputCost> cost_of_outputs(const ir::Graph& floats, const ir::Graph& rounded, const Samples& samples,
                                        const runtime::GraphOptions& options,
                                        const ProgressSink& progress = null_progress());

}  // namespace lathe::calibrate
