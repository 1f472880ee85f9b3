#include "verify/precision_cost.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "calibrate/sixteen_bit.h"
#include "compiler/graph_build.h"
#include "plan/precision.h"

namespace lathe::verify {

double psnr(std::span<const float> expected, std::span<const float> found) {
  LATHE_CHECK(expected.size() == found.size(), "{} and {} numbers", expected.size(), found.size());
  double squares = 0, peak = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const bool finite = std::isfinite(expected[i]);
    if (finite != std::isfinite(found[i])) return -std::numeric_limits<double>::infinity();
    if (!finite) continue;
    const double difference = double(expected[i]) - double(found[i]);
    squares += difference * difference;
    peak = std::max(peak, double(std::abs(expected[i])));
  }
  if (squares == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(peak * peak * double(expected.size()) / squares);
}

double psnr_bound(std::string_view precision) {
  if (precision == "i8") return 25;
  return calibrate::sixteen_bit_bounds(precision == "f16" ? tensor::DType::f16 : tensor::DType::bf16).output_db;
}

PrecisionCost::PrecisionCost(const ir::Graph& graph, std::string precision, const GraphVerifyOptions& options)
    : precision_(std::move(precision)),
      session_(std::make_shared<runtime::GraphSession>(
          compiler::build_graph(graph),
          runtime::GraphOptions{.threads = options.threads, .isa = options.isa, .limits = options.limits})),
      least_(std::numeric_limits<double>::infinity()) {}

void PrecisionCost::add(const GraphData& inputs, const GraphData& found) {
  for (const auto& [name, expected] : session_->run(inputs)) {
    if (!expected.is_tensor() || !tensor::is_float(expected.tensor().dtype())) continue;
    const op::Datum& other = found.at(name);
    const bool same = other.is_tensor() && other.tensor().dims() == expected.tensor().dims();
    const double value = same ? psnr(tensor::to_floats(expected.tensor()), tensor::to_floats(other.tensor()))
                              : -std::numeric_limits<double>::infinity();
    ++compared_;
    if (value > least_ || (value == least_ && !worst_.empty())) continue;
    least_ = value;
    worst_ = name;
  }
}

plan::Gate PrecisionCost::gate() const {
  const double bound = psnr_bound(precision_);
  constexpr double kMost = 999;  // dB that a receipt can hold
  return {.name = fmt::format("3 {} against fp32", plan::precision_of(precision_)),
          .value = std::clamp(least_, -kMost, kMost),
          .bound = bound,
          .pass = least_ >= bound,
          .unit = "dB",
          .note = worst_.empty() ? "no output holds floats"
                                 : fmt::format("PSNR, at least; {} outputs, least in \"{}\"", compared_, worst_)};
}

}  // namespace lathe::verify
