// InstanceNormalization and GroupNormalization over channels-last values: sums by channel, joined by group, then one
// factor and one term for each channel.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/tiers.h"

namespace lathe::backend {
namespace {

struct Prepared {
  int64_t batch, channels, positions, groups;
  float epsilon;
};

constexpr int64_t kBlock = 256;  // positions whose sums are kept in floats

std::optional<std::string> fit(Problem& problem) {
  if (!is_f32(problem.inputs[0])) return "x that is not f32";
  if (problem.inputs[0].dims.size() < 3) return "no spatial axes";
  if (problem.inputs[0].size() == 0) return "nothing to normalise";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  problem.inputs[0].order = Order::channels_last;
  problem.outputs[0].order = Order::channels_last;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  const tensor::Dims& dims = problem.inputs[0].dims;
  auto p = std::make_shared<Prepared>();
  p->batch = dims[0];
  p->channels = dims[1];
  p->positions = tensor::element_count(std::span(dims).subspan(2));
  p->groups = problem.instruction->op == "InstanceNormalization" ? p->channels
                                                                 : problem.attributes().get_int("num_groups", 1);
  p->epsilon = float(problem.attributes().get_float("epsilon", 1e-5));
  return p;
}

// In doubles: sums and squares of all members and images; then floats of each member: block sums and squares, factor
// and term.
int64_t shared_doubles(const Problem& problem) {
  return problem.inputs[0].dims[0] * problem.inputs[0].dims[1] * 2 * problem.threads;
}

size_t scratch_size(const Problem& problem) {
  const size_t own = size_t(problem.inputs[0].dims[1]) * 4 * sizeof(float) * size_t(problem.threads);
  return size_t(shared_doubles(problem)) * sizeof(double) + own;
}

void sum_share(const Prepared& p, const cpu::ChannelsTier& tier, const float* x, int64_t begin, int64_t end,
               double* sums, float* block) noexcept {
  const int64_t c = p.channels;
  std::fill(sums, sums + 2 * c, 0.0);
  for (int64_t at = begin; at < end; at += kBlock) {
    std::fill(block, block + 2 * c, 0.0f);
    // The first position stands for the mean: what is summed stays small.
    for (int64_t i = at; i < std::min(at + kBlock, end); ++i) tier.moments(x + i * c, x, c, block, block + c);
    for (int64_t j = 0; j < 2 * c; ++j) sums[j] += double(block[j]);
  }
}

// Factor and term of each channel from the sums about `shift`.
void settle(const Prepared& p, const GraphCall& call, const float* shift, const double* sums, int64_t stride,
            int members, float* factor, float* term) noexcept {
  const int64_t per_group = p.channels / p.groups;
  const double count = double(per_group * p.positions);
  for (int64_t group = 0; group < p.groups; ++group) {
    const int64_t first = group * per_group;
    double mean = 0;
    for (int64_t c = first; c < first + per_group; ++c) {
      double sum = 0;
      for (int m = 0; m < members; ++m) sum += sums[m * stride + c];
      mean += sum / count + double(shift[c]) / double(per_group);
    }
    double variance = 0;
    for (int64_t c = first; c < first + per_group; ++c) {
      double sum = 0, squares = 0;
      for (int m = 0; m < members; ++m) {
        sum += sums[m * stride + c];
        squares += sums[m * stride + p.channels + c];
      }
      // sum of (x - mean)^2 from the sums of d = x - shift
      const double off = double(shift[c]) - mean;
      variance += (squares + 2 * off * sum + off * off * double(p.positions)) / count;
    }
    const double scale = 1 / std::sqrt(std::max(variance, 0.0) + double(p.epsilon));
    for (int64_t c = first; c < first + per_group; ++c) {
      factor[c] = float(scale * double(call.input(1)[c]));
      term[c] = float(double(call.input(2)[c]) - mean * scale * double(call.input(1)[c]));
    }
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const cpu::ChannelsTier& tier = cpu::channels_tier(*call.problem);
  const int64_t c = p.channels;
  double* all = reinterpret_cast<double*>(call.scratch);
  float* own = reinterpret_cast<float*>(all + shared_doubles(*call.problem)) + 4 * c * member.index();
  const auto [begin, end] = member.share(p.positions, 8);
  const int64_t stride = p.batch * 2 * c;  // of a member
  for (int64_t n = 0; n < p.batch; ++n) {
    const float* x = call.input(0) + n * p.positions * c;
    sum_share(p, tier, x, begin, end, all + member.index() * stride + n * 2 * c, own);
  }
  member.barrier();
  for (int64_t n = 0; n < p.batch; ++n) {
    const float* x = call.input(0) + n * p.positions * c;
    float* y = call.output() + n * p.positions * c;
    settle(p, call, x, all + n * 2 * c, stride, member.size(), own + 2 * c, own + 3 * c);
    // Another member may still read the first position, which is everyone's shift.
    member.barrier();
    for (int64_t i = begin; i < end; ++i) tier.scale_shift(x + i * c, own + 2 * c, own + 3 * c, c, y + i * c);
  }
}

}  // namespace

const GraphKernel& group_norm_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.group_norm",
                                     .ops = {"GroupNormalization", "InstanceNormalization"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run,
                                     .in_place = true};
  return kernel;
}

}  // namespace lathe::backend
