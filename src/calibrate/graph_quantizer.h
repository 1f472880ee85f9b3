// Which products of a graph bear 8 bits: found on samples, each for itself and with the attention behind it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "calibrate/ranges.h"
#include "calibrate/samples.h"
#include "ir/graph.h"
#include "opt/quantize.h"
#include "plan/graph_engine.h"
#include "runtime/graph_session.h"

namespace lathe::calibrate {

struct QuantizerOptions {
  std::map<std::string, std::string, std::less<>> keep = {};  // products that stay in floats, by their result: reason
  // Leave in floats what 8 bits would not make faster on the instruction set of `run` (opt/quantize_choice.h).
  bool only_faster = false;
  double keep_below = 12;  // dB: a product, or an attention, whose own signal to noise is less stays in floats
  RangeMethod method = RangeMethod::mse;
  runtime::GraphOptions run = {};
  ProgressSink progress = null_progress();
};

// What rounding one product costs, fed what it would get in floats.
struct ProductCost {
  std::string value;  // its result
  double db = 0;
};

class GraphQuantizer {
 public:
  // Prepares the graph, measures ranges and costs; memory is that of a run in floats and of single products. Throws as
  // measure_ranges and opt::quantize.
  GraphQuantizer(ir::Graph floats, const Samples& samples, const QuantizerOptions& options);

  // The graph that rounds. Its weights are rounded when they are read.
  ir::Graph graph() const;
  size_t products() const { return products_; }
  size_t rounded() const { return costs_.size(); }
  // Of those that round, in order.
  const std::vector<ProductCost>& costs() const { return costs_; }
  // What stays in floats, in order, and why.
  std::vector<plan::Island> kept() const;
  // Leaves `count` more in floats, the worst first; fewer where there are no more. Returns how many.
  size_t keep_worst(size_t count, const std::string& why);

 private:
  void measure(const Samples& samples, const QuantizerOptions& options);

  ir::Graph floats_;
  opt::Ranges ranges_;
  opt::QuantizeOptions quantize_;
  size_t products_ = 0;
  std::vector<ProductCost> costs_;
};

}  // namespace lathe::calibrate
