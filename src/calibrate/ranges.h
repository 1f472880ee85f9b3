// What the values of a graph lie in when it runs on samples.
#pragma once

#include <span>
#include <string>

#include "base/log.h"
#include "calibrate/samples.h"
#include "ir/graph.h"
#include "opt/quantize.h"
#include "runtime/graph_session.h"

namespace lathe::calibrate {

enum class RangeMethod {
  minmax,      // every element that was seen
  percentile,  // RangeOptions::share of them, the same part cut off at both ends
  mse,         // the range whose rounding errors, cut-off elements included, have the smallest sum of squares
};
// Throws usage for a name that is none.
RangeMethod range_method(std::string_view name);

struct RangeOptions {
  RangeMethod method = RangeMethod::mse;
  double share = 0.9999;
  runtime::GraphOptions run = {};
  ProgressSink progress = null_progress();
};

// Of these values of the graph, f32 inputs or results. Throws invalid_input naming value and sample where an element is
// not finite; what running throws.
opt::Ranges measure_ranges(const ir::Graph& graph, std::span<const std::string> names, const Samples& samples,
                           const RangeOptions& options);

// A count of elements by equal parts of a range; what percentile and mse choose from.
class Histogram {
 public:
  static constexpr size_t kBins = 2048;

  explicit Histogram(opt::Range range);
  void add(std::span<const float> elements);
  // The range between the first and the last bin behind which (1 - share) / 2 of the elements lie.
  opt::Range percentile(double share) const;
  // Of 100 ranges from a hundredth of the whole to all of it, both ends in proportion, each with 0 in it.
  opt::Range least_error() const;

 private:
  double centre(size_t bin) const { return range_.low + (double(bin) + 0.5) * width_; }

  opt::Range range_;
  double width_;
  uint64_t total_ = 0;
  std::vector<uint64_t> counts_;
};

}  // namespace lathe::calibrate
