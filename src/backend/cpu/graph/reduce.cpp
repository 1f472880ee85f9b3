// ReduceMean, ReduceSum and ReduceMax of f32 over neighbouring axes: rows to one number, or positions to channels.
#include <algorithm>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/tiers.h"
#include "backend/graph_order.h"

namespace lathe::backend {
namespace {

// The value as [outer, reduced, inner] in memory.
struct Prepared {
  int64_t outer = 1, reduced = 1, inner = 1;
  bool maximum = false, mean = false;
};

// The axes as bools, or nullopt where they are not known.
std::optional<std::vector<bool>> reduced_axes(const Problem& problem) {
  const size_t rank = problem.inputs[0].dims.size();
  std::vector<int64_t> axes;
  if (problem.has_input(1)) {
    const auto known = ints_of(problem, 1);
    if (!known) return std::nullopt;
    axes = *known;
  }
  const bool all = axes.empty();
  if (all && problem.attributes().get_int("noop_with_empty_axes", 0) != 0) return std::nullopt;
  std::vector<bool> reduced(rank, all);
  for (const int64_t axis : axes) reduced[axis_at(axis, rank)] = true;
  return reduced;
}

// Splits the axes as they lie into outer, reduced and inner; nullopt if the reduced ones are not neighbours.
std::optional<Prepared> split(const Problem& problem, Order order) {
  const auto reduced = reduced_axes(problem);
  if (!reduced) return std::nullopt;
  Prepared p;
  int part = 0;
  for (const size_t axis : axes_in_order(reduced->size(), order)) {
    const int64_t length = problem.inputs[0].dims[axis];
    if (length == 1) continue;
    if ((*reduced)[axis]) {
      if (part == 2) return std::nullopt;
      part = 1;
      p.reduced *= length;
    } else if (part == 0) {
      p.outer *= length;
    } else {
      part = 2;
      p.inner *= length;
    }
  }
  const std::string& op = problem.instruction->op;
  p.maximum = op == "ReduceMax";
  p.mean = op == "ReduceMean";
  return p;
}

std::optional<std::string> fit(Problem& problem) {
  ProblemValue& x = problem.inputs[0];
  ProblemValue& y = problem.outputs[0];
  if (!is_f32(x)) return "x that is not f32";
  if (x.size() == 0) return "nothing to reduce";
  if (problem.has_input(1)) problem.inputs[1].order = Order::plain;
  auto p = split(problem, x.order);
  // The result keeps the order where it keeps the rank; else it must not have one.
  const bool keeps_rank = x.dims.size() == y.dims.size();
  if (p && (keeps_rank || x.order == Order::plain || y.dims.size() < 2 || p->outer == 1 || p->inner == 1)) {
    y.order = keeps_rank ? x.order : Order::plain;
    return std::nullopt;
  }
  x.order = Order::plain;
  p = split(problem, Order::plain);
  return p ? std::nullopt : std::optional<std::string>("axes that are no neighbours, or not known");
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  return std::make_shared<Prepared>(*split(problem, problem.inputs[0].order));
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const cpu::ChannelsTier& tier = cpu::channels_tier(*call.problem);
  const float factor = p.mean ? 1.0f / float(p.reduced) : 1.0f;
  if (p.inner == 1) {
    const auto [begin, end] = member.share(p.outer);
    for (int64_t row = begin; row < end; ++row) {
      const float* x = call.input(0) + row * p.reduced;
      call.output()[row] = p.maximum ? tier.row_max(x, p.reduced) : tier.row_sum(x, p.reduced) * factor;
    }
    return;
  }
  // By outer rows where there are enough, else by channels.
  const bool by_rows = p.outer >= member.size();
  const auto [first, last] = by_rows ? member.share(p.outer) : TeamMember::Range{0, p.outer};
  const auto [begin, end] = by_rows ? TeamMember::Range{0, p.inner} : member.share(p.inner, 64);
  for (int64_t row = first; row < last; ++row) {
    const float* x = call.input(0) + row * p.reduced * p.inner + begin;
    float* y = call.output() + row * p.inner + begin;
    std::copy(x, x + (end - begin), y);
    for (int64_t i = 1; i < p.reduced; ++i) {
      (p.maximum ? tier.max_into : tier.add_into)(x + i * p.inner, end - begin, y);
    }
    if (p.mean) tier.scale(factor, end - begin, y);
  }
}

}  // namespace

const GraphKernel& reduce_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.reduce",
                                     .ops = {"ReduceMax", "ReduceMean", "ReduceSum"},
                                     .fit = fit,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
