// MaxPool, AveragePool, GlobalMaxPool and GlobalAveragePool over channels-last values, position by position; maxima of
// bytes as well.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/tiers.h"
#include "op/sliding_windows.h"

namespace lathe::backend {
namespace {

constexpr size_t kMaxAxes = 3;

struct Prepared {
  int64_t batch, channels;
  size_t axes;
  int64_t lengths[kMaxAxes], counts[kMaxAxes], kernel[kMaxAxes], strides[kMaxAxes], dilations[kMaxAxes],
      begins[kMaxAxes], ends[kMaxAxes];
  int64_t positions, input_positions;
  bool maximum, count_padding;
};

bool is_global(std::string_view op) {
  return op.starts_with("Global");
}

std::optional<std::string> fit(Problem& problem) {
  const bool bytes = problem.inputs[0].dtype == tensor::DType::u8 || problem.inputs[0].dtype == tensor::DType::i8;
  const bool maximum = problem.instruction->op.ends_with("MaxPool");
  if (!is_f32(problem.inputs[0]) && !(bytes && maximum)) return "x that is neither f32 nor a maximum of bytes";
  if (problem.outputs.size() > 1) return "indices of the largest";
  const size_t axes = problem.inputs[0].dims.size() - 2;
  if (axes < 1 || axes > kMaxAxes) return "more than three spatial axes";
  if (tensor::element_count(std::span<const int64_t>(problem.inputs[0].dims)) == 0) return "nothing to pool";
  problem.inputs[0].order = Order::channels_last;
  problem.outputs[0].order = Order::channels_last;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const std::string& op = problem.instruction->op;
  const ProblemValue& x = problem.inputs[0];
  op::Windows windows;
  if (is_global(op)) {
    windows.lengths.assign(x.dims.begin() + 2, x.dims.end());
    windows.kernel = windows.lengths;
    windows.strides = windows.dilations = windows.counts = tensor::Dims(windows.lengths.size(), 1);
    windows.begins = windows.ends = tensor::Dims(windows.lengths.size(), 0);
  } else {
    windows = op::plan_windows(op, problem.attributes(), x.dims);
  }
  p->axes = windows.lengths.size();
  for (size_t i = 0; i < p->axes; ++i) {
    p->lengths[i] = windows.lengths[i];
    p->counts[i] = windows.counts[i];
    p->kernel[i] = windows.kernel[i];
    p->strides[i] = windows.strides[i];
    p->dilations[i] = windows.dilations[i];
    p->begins[i] = windows.begins[i];
    p->ends[i] = windows.ends[i];
  }
  p->batch = x.dims[0];
  p->channels = x.dims[1];
  p->positions = windows.count();
  p->input_positions = windows.input_size();
  p->maximum = op.ends_with("MaxPool");
  p->count_padding = problem.attributes().get_int("count_include_pad", 0) != 0;
  return p;
}

// The taps of one axis that lie inside, and how many lie inside the padding as well.
struct Range {
  int64_t first, last;  // taps [first, last)
  int64_t start;        // of tap 0 in the input
  int64_t padded;
};
Range range_of(const Prepared& p, size_t axis, int64_t index) noexcept {
  const int64_t start = index * p.strides[axis] - p.begins[axis];
  const int64_t step = p.dilations[axis];
  Range range{0, p.kernel[axis], start, 0};
  while (range.first < range.last && start + range.first * step < 0) ++range.first;
  while (range.last > range.first && start + (range.last - 1) * step >= p.lengths[axis]) --range.last;
  for (int64_t k = 0; k < p.kernel[axis]; ++k) range.padded += start + k * step < p.lengths[axis] + p.ends[axis];
  return range;
}

// Maxima and sums by type.
void take_in(const Prepared& p, const cpu::ChannelsTier& tier, const float* x, float* y) noexcept {
  (p.maximum ? tier.max_into : tier.add_into)(x, p.channels, y);
}
void take_in(const Prepared& p, const cpu::ChannelsTier& tier, const uint8_t* x, uint8_t* y) noexcept {
  tier.max_u8_into(x, p.channels, y);
}
void take_in(const Prepared& p, const cpu::ChannelsTier& tier, const int8_t* x, int8_t* y) noexcept {
  tier.max_i8_into(x, p.channels, y);
}

template <class T>
T nothing_yet(bool maximum) noexcept {
  if (!maximum) return T(0);
  return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
}

template <class T>
void pool_position(const Prepared& p, const cpu::ChannelsTier& tier, const T* image, int64_t number, T* y) noexcept {
  Range ranges[kMaxAxes];
  int64_t padded = 1, inside = 1;
  int64_t rest = number;
  for (size_t i = p.axes; i-- > 0;) {
    ranges[i] = range_of(p, i, rest % p.counts[i]);
    rest /= p.counts[i];
    padded *= ranges[i].padded;
    inside *= ranges[i].last - ranges[i].first;
  }
  std::fill(y, y + p.channels, nothing_yet<T>(p.maximum));
  if (inside == 0) return;
  int64_t tap[kMaxAxes];
  for (size_t i = 0; i < p.axes; ++i) tap[i] = ranges[i].first;
  for (bool more = true; more;) {
    int64_t offset = 0;
    for (size_t i = 0; i < p.axes; ++i) offset = offset * p.lengths[i] + ranges[i].start + tap[i] * p.dilations[i];
    take_in(p, tier, image + offset * p.channels, y);
    more = false;
    for (size_t i = p.axes; i-- > 0 && !more;) {
      more = ++tap[i] < ranges[i].last;
      if (!more) tap[i] = ranges[i].first;
    }
  }
  if constexpr (std::is_same_v<T, float>) {
    if (!p.maximum) tier.scale(1.0f / float(p.count_padding ? padded : inside), p.channels, y);
  }
}

template <class T>
void run_positions(const GraphCall& call, const Prepared& p, const TeamMember& member) noexcept {
  const cpu::ChannelsTier& tier = cpu::channels_tier(*call.problem);
  const auto [begin, end] = member.share(p.batch * p.positions);
  for (int64_t at = begin; at < end; ++at) {
    const T* image = call.input<T>(0) + at / p.positions * p.input_positions * p.channels;
    pool_position(p, tier, image, at % p.positions, call.output<T>() + at * p.channels);
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  switch (call.problem->inputs[0].dtype) {
    case tensor::DType::u8:
      return run_positions<uint8_t>(call, p, member);
    case tensor::DType::i8:
      return run_positions<int8_t>(call, p, member);
    default:
      return run_positions<float>(call, p, member);
  }
}

}  // namespace

const GraphKernel& pool_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.pool",
                                     .ops = {"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"},
                                     .fit = fit,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
