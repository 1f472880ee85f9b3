// BatchNormalization of f32 with given statistics: a factor and a shift for each channel.
#include <cmath>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/tiers.h"

namespace lathe::backend {
namespace {

enum Input : size_t { kX, kScale, kBias, kMean, kVariance };

struct Prepared {
  int64_t channels = 1, inner = 1;  // plain: [n][channels][inner]; channels last: [rows][channels]
  int64_t rows = 0;                 // of inner, or of channels
  double epsilon;
};

std::optional<std::string> fit(Problem& problem) {
  for (const ProblemValue& input : problem.inputs) {
    if (!is_f32(input)) return "types other than f32";
  }
  if (problem.attributes().get_int("training_mode", 0) != 0 || problem.outputs.size() > 1) return "training";
  ProblemValue& x = problem.inputs[kX];
  if (x.dims.size() < 2) return "one axis";
  for (size_t i = 1; i < problem.inputs.size(); ++i) problem.inputs[i].order = Order::plain;
  problem.outputs[0].order = x.order;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  const ProblemValue& x = problem.inputs[kX];
  auto p = std::make_shared<Prepared>();
  p->channels = x.dims[1];
  p->inner = tensor::element_count(std::span(x.dims).subspan(2));
  const bool rows_of_channels = x.order == Order::channels_last || p->inner == 1;
  p->rows = x.size() == 0 ? 0 : rows_of_channels ? x.size() / p->channels : x.size() / p->inner;
  if (rows_of_channels) p->inner = 1;
  p->epsilon = problem.attributes().get_float("epsilon", 1e-5);
  return p;
}

size_t scratch_size(const Problem& problem) {
  return size_t(problem.inputs[kX].dims[1]) * 2 * sizeof(float) * size_t(problem.threads);
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  float* scales = reinterpret_cast<float*>(call.scratch) + 2 * p.channels * member.index();
  float* shifts = scales + p.channels;
  for (int64_t c = 0; c < p.channels; ++c) {
    const double scale = call.input(kScale)[c] / std::sqrt(double(call.input(kVariance)[c]) + p.epsilon);
    scales[c] = float(scale);
    shifts[c] = float(call.input(kBias)[c] - call.input(kMean)[c] * scale);
  }
  const auto [begin, end] = member.share(p.rows);
  for (int64_t row = begin; row < end; ++row) {
    if (p.inner == 1) {
      const int64_t at = row * p.channels;
      cpu::channels_tier(*call.problem)
          .scale_shift(call.input(kX) + at, scales, shifts, p.channels, call.output() + at);
      continue;
    }
    const float* x = call.input(kX) + row * p.inner;
    float* y = call.output() + row * p.inner;
    const float scale = scales[row % p.channels], shift = shifts[row % p.channels];
    for (int64_t i = 0; i < p.inner; ++i) y[i] = x[i] * scale + shift;
  }
}

}  // namespace

const GraphKernel& batch_norm_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.batch_norm",
                                     .ops = {"BatchNormalization"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run,
                                     .in_place = true};
  return kernel;
}

}  // namespace lathe::backend
