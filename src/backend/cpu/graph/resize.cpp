// Resize of the spatial axes of channels-last values, nearest and linear: each new position is a weighted sum of old
// ones, all channels at once.
#include <algorithm>
#include <cstring>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/tiers.h"
#include "op/resize_axis.h"

namespace lathe::backend {
namespace {

constexpr size_t kMaxAxes = 3;

struct Prepared {
  int64_t batch, channels, positions = 1, input_positions = 1;
  size_t axes;
  int64_t lengths[kMaxAxes], counts[kMaxAxes];
  // taps[axis][index]: which input elements of that axis, with which weights.
  std::vector<std::vector<op::WeightedTap>> taps[kMaxAxes];
};

std::vector<double> numbers_of(const Problem& problem, size_t i) {
  std::vector<double> numbers;
  if (!problem.has_input(i)) return numbers;
  for (int64_t k = 0; k < problem.inputs[i].known->size(); ++k) {
    numbers.push_back(tensor::element_as_double(*problem.inputs[i].known, k));
  }
  return numbers;
}

std::vector<op::ResizeAxis> axes_of(const Problem& problem, const op::ResizeSpec& spec) {
  const std::vector<double> sizes = numbers_of(problem, 3);
  return op::plan_resize(spec, problem.inputs[0].dims, {}, numbers_of(problem, 2), {sizes.begin(), sizes.end()});
}

std::optional<std::string> fit(Problem& problem) {
  const ProblemValue& x = problem.inputs[0];
  if (!is_f32(x)) return "x that is not f32";
  if (x.dims.size() < 3 || x.dims.size() > 2 + kMaxAxes) return "no, or more than three spatial axes";
  if (x.size() == 0 || problem.outputs[0].size() == 0) return "nothing to resize";
  for (size_t i = 2; i < problem.inputs.size(); ++i) {
    if (problem.has_input(i) && !problem.inputs[i].known) return "scales that are not known";
  }
  const op::ResizeSpec spec = op::read_resize(problem.attributes(), x.dims.size());
  if (spec.mode == "cubic" || spec.antialias || spec.crops()) return "cubic, antialias or crops";
  const tensor::Dims& y = problem.outputs[0].dims;
  if (y[0] != x.dims[0] || y[1] != x.dims[1]) return "channels that are resized";
  problem.inputs[0].order = Order::channels_last;
  problem.outputs[0].order = Order::channels_last;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const tensor::Dims& x = problem.inputs[0].dims;
  const op::ResizeSpec spec = op::read_resize(problem.attributes(), x.size());
  const std::vector<op::ResizeAxis> axes = axes_of(problem, spec);
  p->batch = x[0];
  p->channels = x[1];
  p->axes = x.size() - 2;
  for (size_t i = 0; i < p->axes; ++i) {
    const op::ResizeAxis& axis = axes[i + 2];
    p->lengths[i] = axis.length;
    p->counts[i] = axis.count;
    p->positions *= axis.count;
    p->input_positions *= axis.length;
    const bool resized = std::find(spec.axes.begin(), spec.axes.end(), i + 2) != spec.axes.end();
    for (int64_t k = 0; k < axis.count; ++k) {
      p->taps[i].push_back(resized ? op::resize_taps(spec, axis, op::resize_coordinate(spec, axis, k))
                                   : std::vector<op::WeightedTap>{{k, 1.0}});
    }
  }
  return p;
}

void resize_position(const Prepared& p, const cpu::ChannelsTier& tier, const float* image, int64_t number,
                     float* y) noexcept {
  const std::vector<op::WeightedTap>* taps[kMaxAxes];
  size_t tap[kMaxAxes] = {};
  bool one = true;
  for (size_t i = p.axes; i-- > 0;) {
    taps[i] = &p.taps[i][size_t(number % p.counts[i])];
    number /= p.counts[i];
    one &= taps[i]->size() == 1;
  }
  bool first = true;
  for (bool more = true; more;) {
    int64_t offset = 0;
    double weight = 1;
    for (size_t i = 0; i < p.axes; ++i) {
      offset = offset * p.lengths[i] + (*taps[i])[tap[i]].at;
      weight *= (*taps[i])[tap[i]].weight;
    }
    const float* x = image + offset * p.channels;
    if (one && weight == 1) {
      std::memcpy(y, x, size_t(p.channels) * sizeof(float));
      return;
    }
    if (first) std::fill(y, y + p.channels, 0.0f);
    first = false;
    tier.add_scaled(x, float(weight), p.channels, y);
    more = false;
    for (size_t i = p.axes; i-- > 0 && !more;) {
      more = ++tap[i] < taps[i]->size();
      if (!more) tap[i] = 0;
    }
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const cpu::ChannelsTier& tier = cpu::channels_tier(*call.problem);
  const auto [begin, end] = member.share(p.batch * p.positions);
  for (int64_t at = begin; at < end; ++at) {
    const float* image = call.input(0) + at / p.positions * p.input_positions * p.channels;
    resize_position(p, tier, image, at % p.positions, call.output() + at * p.channels);
  }
}

}  // namespace

const GraphKernel& resize_graph_kernel() {
  static const GraphKernel kernel = {
      .name = "cpu.resize", .ops = {"Resize"}, .fit = fit, .prepare = prepare, .run = run};
  return kernel;
}

}  // namespace lathe::backend
