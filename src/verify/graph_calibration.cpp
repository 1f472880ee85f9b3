#include "verify/graph_calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "calibrate/parts.h"
#include "compiler/graph_build.h"
#include "op/values.h"
#include "opt/extract.h"

namespace lathe::verify {
namespace {

using calibrate::Part;
using tensor::Tensor;

// Root mean square of the difference as a share of that of what was expected; infinite where it is not finite.
double moved(const Tensor& expected, const Tensor& found) {
  const auto a = expected.data<float>(), b = found.data<float>();
  double squares = 0, differences = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) continue;  // a mask
    const double difference = double(a[i]) - double(b[i]);
    squares += double(a[i]) * double(a[i]);
    differences += difference * difference;
  }
  if (differences == 0) return 0;
  return squares > 0 ? std::sqrt(differences / squares) : std::numeric_limits<double>::infinity();
}

class Calibrator {
 public:
  Calibrator(const ir::Graph& graph, contract::Precision precision, const CalibrationOptions& options)
      : options_(options),
        session_{.threads = options.threads, .isa = options.isa, .limits = options.limits},
        precision_(precision),
        bound_(moved_bound(precision)),
        lowered_(graph) {
    compiler::GraphBuildOptions build;
    build.passes = options.passes;
    compiler::optimise_graph(lowered_, build);
    compiler::lower_graph(lowered_, build);
    const std::vector<ir::NodeId> products = opt::roundable_products(lowered_);
    runs_.emplace(compiler::build_graph(graph, build), calibrate::find_parts(lowered_, products));
    result_.products = int(products.size());
    // The build keeps those by itself.
    ir::Graph rounded = lowered_;
    for (const auto& product : opt::round_products(rounded, compiler::rounding_of_products(precision), {})) {
      kept_.insert(product.name);
    }
  }

  void run(const GraphData& inputs) {
    runs_->run(inputs, session_, [&](size_t index, const GraphData& given, const Tensor& result) {
      compare(runs_->parts()[index], given, result);
      options_.progress({"calibrate", uint64_t(index), uint64_t(runs_->parts().size())});
    });
  }

  Calibration finish() { return std::move(result_); }

 private:
  void compare(const Part& part, const GraphData& inputs, const Tensor& expected) {
    const bool known = std::all_of(part.products.begin(), part.products.end(),
                                   [&](const std::string& product) { return kept_.contains(product); });
    if (known) return;
    const Tensor found = compute(part, inputs);
    const double share = moved(expected, found);
    if (!(share <= bound_)) {
      const std::string what =
          part.products[0] == part.result ? "its result" : fmt::format("the result of {} \"{}\"", part.op, part.result);
      const std::string how = std::isfinite(share) ? fmt::format("moves by {:.2g} %", 100 * share) : "is not finite";
      for (const std::string& product : part.products) {
        if (!kept_.insert(product).second) continue;
        result_.islands.push_back(
            {product, fmt::format("{} {} in {} (bound {:.2g} %)", what, how, to_string(precision_), 100 * bound_)});
      }
    } else if (share > result_.worst) {
      result_.worst = share;
      result_.worst_name = part.result;
    }
  }

  // The part's result with its products rounded.
  Tensor compute(const Part& part, const GraphData& inputs) {
    ir::Graph graph = opt::extract(lowered_, part.inputs, {part.result});
    for (const std::string& product : part.products) {
      if (kept_.contains(product)) continue;
      opt::round_product(graph, graph.producer(*graph.find(product)), compiler::rounding_of_products(precision_));
    }
    compiler::GraphBuildOptions build;
    build.fuse = false;
    runtime::GraphSession session(compiler::build_graph(std::move(graph), build), session_);
    return op::clone(session.run(inputs).at(part.result).tensor());
  }

  const CalibrationOptions& options_;
  runtime::GraphOptions session_;
  contract::Precision precision_;
  double bound_;
  ir::Graph lowered_;
  std::optional<calibrate::PartRuns> runs_;
  std::set<std::string> kept_;
  Calibration result_;
};

}  // namespace

double moved_bound(contract::Precision precision) {
  // What the whole graph may lose by psnr_bound, were the peak the root mean square.
  return precision == contract::Precision::fp16 ? 1.0 / 316 : 1.0 / 56;
}

Calibration calibrate(const ir::Graph& graph, contract::Precision precision, std::span<const GraphData> calls,
                      const CalibrationOptions& options) {
  Calibrator calibrator(graph, precision, options);
  for (const GraphData& inputs : calls) calibrator.run(inputs);
  return calibrator.finish();
}

}  // namespace lathe::verify
