// Reductions over any axes of f32, i32 and i64 that cpu.reduce does not take: line by line, without vectors.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/graph_attributes.h"
#include "backend/graph_order.h"

namespace lathe::backend {
namespace {

using tensor::DType;

enum class Fold : uint8_t { sum, mean, max, min, prod, l1, l2, sum_square, log_sum, log_sum_exp };

struct Prepared {
  Fold fold;
  // The result's elements by axis of x that stay; each is a walk over the axes that go.
  std::vector<int64_t> kept_dims, kept_strides, dims, strides;
  int64_t results = 0, count = 0;
};

constexpr std::pair<std::string_view, Fold> kFolds[] = {
    {"ReduceL1", Fold::l1},           {"ReduceL2", Fold::l2},
    {"ReduceLogSum", Fold::log_sum},  {"ReduceLogSumExp", Fold::log_sum_exp},
    {"ReduceMax", Fold::max},         {"ReduceMean", Fold::mean},
    {"ReduceMin", Fold::min},         {"ReduceProd", Fold::prod},
    {"ReduceSum", Fold::sum},         {"ReduceSumSquare", Fold::sum_square},
};

Fold fold_of(const Problem& problem) {
  return std::find_if(std::begin(kFolds), std::end(kFolds), [&](const auto& entry) {
           return entry.first == problem.instruction->op;
         })->second;
}

bool is_whole(Fold fold) {
  return fold == Fold::sum || fold == Fold::max || fold == Fold::min || fold == Fold::prod;
}

// Which axes go; nullopt where that is not known, or none do.
std::optional<std::vector<bool>> axes_that_go(const Problem& problem) {
  const size_t rank = problem.inputs[0].dims.size();
  std::vector<int64_t> axes;
  if (problem.has_input(1)) {
    const auto known = ints_of(problem, 1);
    if (!known) return std::nullopt;
    axes = *known;
  }
  if (axes.empty() && problem.attributes().get_int("noop_with_empty_axes", 0) != 0) return std::nullopt;
  std::vector<bool> go(rank, axes.empty());
  for (const int64_t axis : axes) go[axis_at(axis, rank)] = true;
  return go;
}

std::optional<std::string> fit(Problem& problem) {
  const DType dtype = problem.inputs[0].dtype;
  const bool whole = dtype == DType::i32 || dtype == DType::i64;
  if (dtype != DType::f32 && !(whole && is_whole(fold_of(problem)))) return "numbers of another type";
  if (problem.inputs[0].size() == 0) return "nothing to reduce";
  if (!axes_that_go(problem)) return "axes that are not known";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const tensor::Dims& dims = problem.inputs[0].dims;
  const std::vector<int64_t> strides = strides_of(dims, Order::plain);
  const std::vector<bool> go = *axes_that_go(problem);
  std::vector<int64_t> gone_dims, gone_strides;
  for (size_t i = 0; i < dims.size(); ++i) {
    (go[i] ? gone_dims : p->kept_dims).push_back(dims[i]);
    (go[i] ? gone_strides : p->kept_strides).push_back(strides[i]);
  }
  const StridedWalk walk = join_axes(gone_dims, gone_strides, gone_strides);
  p->dims = walk.dims;
  p->strides = walk.from;
  p->count = walk.count;
  p->results = problem.outputs[0].size();
  p->fold = fold_of(problem);
  return p;
}

// f(element) for each that one result is made of.
template <class T, class F>
void each(const Prepared& p, const T* x, F f) noexcept {
  const int64_t length = p.dims.back(), stride = p.strides.back();
  const int64_t lines = p.count / length;
  for (int64_t line = 0; line < lines; ++line) {
    int64_t rest = line, at = 0;
    for (size_t i = p.dims.size() - 1; i-- > 0;) {
      at += rest % p.dims[i] * p.strides[i];
      rest /= p.dims[i];
    }
    for (int64_t j = 0; j < length; ++j) f(x[at + j * stride]);
  }
}

template <class T>
T fold_values(const Prepared& p, const T* x) noexcept {
  using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;  // integers wrap
  Sum sum = p.fold == Fold::prod ? 1 : 0;
  T extreme = *x;
  switch (p.fold) {
    case Fold::max:
      each(p, x, [&](T v) { extreme = extreme != extreme || extreme > v ? extreme : v; });
      return extreme;
    case Fold::min:
      each(p, x, [&](T v) { extreme = extreme != extreme || extreme < v ? extreme : v; });
      return extreme;
    case Fold::prod:
      each(p, x, [&](T v) { sum *= Sum(v); });
      return T(sum);
    case Fold::l1:
      each(p, x, [&](T v) { sum += Sum(v < 0 ? -v : v); });
      return T(sum);
    case Fold::l2:
    case Fold::sum_square:
      each(p, x, [&](T v) { sum += Sum(v) * Sum(v); });
      return T(p.fold == Fold::l2 ? std::sqrt(double(sum)) : double(sum));
    case Fold::log_sum_exp: {
      each(p, x, [&](T v) { extreme = extreme != extreme || extreme > v ? extreme : v; });
      if (!std::isfinite(double(extreme))) return extreme;
      each(p, x, [&](T v) { sum += Sum(std::exp(double(v) - double(extreme))); });
      return T(double(extreme) + std::log(double(sum)));
    }
    default:
      each(p, x, [&](T v) { sum += Sum(v); });
      if (p.fold == Fold::mean) return T(double(sum) / double(p.count));
      return p.fold == Fold::log_sum ? T(std::log(double(sum))) : T(sum);
  }
}

template <class T>
void run_results(const GraphCall& call, const Prepared& p, const TeamMember& member) noexcept {
  const auto [begin, end] = member.share(p.results);
  for (int64_t result = begin; result < end; ++result) {
    int64_t rest = result, at = 0;
    for (size_t i = p.kept_dims.size(); i-- > 0;) {
      at += rest % p.kept_dims[i] * p.kept_strides[i];
      rest /= p.kept_dims[i];
    }
    call.output<T>()[result] = fold_values(p, call.input<T>(0) + at);
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  switch (call.problem->inputs[0].dtype) {
    case DType::f32:
      return run_results<float>(call, p, member);
    case DType::i32:
      return run_results<int32_t>(call, p, member);
    default:
      return run_results<int64_t>(call, p, member);
  }
}

}  // namespace

// In the table after cpu.reduce, which is faster: kernels are in the order of their names.
const GraphKernel& reduce_any_graph_kernel() {
  static const GraphKernel kernel = {
      .name = "cpu.reduce_any",
      .ops = {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
              "ReduceProd", "ReduceSum", "ReduceSumSquare"},
      .fit = fit,
      .prepare = prepare,
      .run = run};
  return kernel;
}

}  // namespace lathe::backend
