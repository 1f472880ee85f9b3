// ArgMax, ArgMin, TopK and CumSum: what goes along one axis, line by line.
#include <algorithm>

#include "backend/cpu/graph_attributes.h"

namespace lathe::backend {
namespace {

using tensor::DType;

// The value as [outer][length][inner], row-major; lines run along the middle.
struct Prepared {
  int64_t outer = 1, length = 1, inner = 1;
  int64_t k = 0;  // TopK
  bool largest = true, last = false, exclusive = false, reverse = false;
};

// CumSum's axis is an input; nullopt where it is not known.
std::optional<size_t> axis_of(const Problem& problem) {
  const size_t rank = problem.inputs[0].dims.size();
  if (problem.instruction->op == "CumSum") {
    const auto axis = ints_of(problem, 1);
    return axis ? std::optional(axis_at(axis->front(), rank)) : std::nullopt;
  }
  return axis_at(problem.attributes().get_int("axis", problem.instruction->op == "TopK" ? -1 : 0), rank);
}

bool is_taken(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::i32 || dtype == DType::i64 || dtype == DType::u8;
}

std::optional<std::string> fit(Problem& problem) {
  if (!is_taken(problem.inputs[0].dtype)) return "numbers of another type";
  if (problem.inputs[0].dims.empty()) return "no axis";
  if (!axis_of(problem)) return "an axis that is not known";
  if (problem.inputs[0].dims[*axis_of(problem)] == 0) return "lines without elements";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const tensor::Dims& dims = problem.inputs[0].dims;
  const size_t axis = *axis_of(problem);
  const op::Attributes& attributes = problem.attributes();
  p->outer = tensor::element_count(std::span(dims).first(axis));
  p->length = dims[axis];
  p->inner = tensor::element_count(std::span(dims).subspan(axis + 1));
  p->last = attributes.get_int("select_last_index", 0) != 0;
  p->exclusive = attributes.get_int("exclusive", 0) != 0;
  p->reverse = attributes.get_int("reverse", 0) != 0;
  const std::string& op = problem.instruction->op;
  p->largest = op == "TopK" ? attributes.get_int("largest", 1) != 0 : op == "ArgMax";
  if (op == "TopK") p->k = problem.outputs[0].dims[axis];
  return p;
}

// TopK: the places of a line's elements, for each member.
size_t scratch_size(const Problem& problem) {
  if (problem.instruction->op != "TopK") return 0;
  return size_t(problem.inputs[0].dims[*axis_of(problem)]) * sizeof(int64_t) * size_t(problem.threads);
}

template <class T>
void arg_line(const Prepared& p, const T* x, int64_t* y) noexcept {
  int64_t best = 0;
  for (int64_t j = 1; j < p.length; ++j) {
    const T candidate = x[j * p.inner], champion = x[best * p.inner];
    const bool better = p.largest ? candidate > champion : candidate < champion;
    const bool worse = p.largest ? champion > candidate : champion < candidate;
    if (better || (p.last && !worse)) best = j;
  }
  *y = best;
}

template <class T>
void cumulate_line(const Prepared& p, const T* x, T* y) noexcept {
  using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
  Sum total = 0;
  for (int64_t j = 0; j < p.length; ++j) {
    const int64_t at = (p.reverse ? p.length - 1 - j : j) * p.inner;
    const Sum before = total;
    total += Sum(x[at]);
    y[at] = T(p.exclusive ? before : total);
  }
}

// NaN ranks above every number; among equals the lower index comes first.
template <class T>
void top_line(const Prepared& p, const T* x, int64_t* places, T* values, int64_t* indices) noexcept {
  const auto above = [&](int64_t a, int64_t b) {
    const T va = x[a * p.inner], vb = x[b * p.inner];
    if (va != va || vb != vb) return va != va && vb == vb;
    return va > vb;
  };
  const auto before = [&](int64_t a, int64_t b) {
    if (p.largest ? above(a, b) : above(b, a)) return true;
    if (p.largest ? above(b, a) : above(a, b)) return false;
    return a < b;
  };
  for (int64_t j = 0; j < p.length; ++j) places[j] = j;
  std::partial_sort(places, places + p.k, places + p.length, before);
  for (int64_t j = 0; j < p.k; ++j) {
    values[j * p.inner] = x[places[j] * p.inner];
    if (indices) indices[j * p.inner] = places[j];
  }
}

template <class T>
void run_lines(const GraphCall& call, const Prepared& p, const TeamMember& member) noexcept {
  const std::string& op = call.problem->instruction->op;
  int64_t* places = reinterpret_cast<int64_t*>(call.scratch) + p.length * member.index();
  const auto [begin, end] = member.share(p.outer * p.inner);
  for (int64_t line = begin; line < end; ++line) {
    const int64_t outer = line / p.inner, column = line % p.inner;
    const T* x = call.input<T>(0) + outer * p.length * p.inner + column;
    if (op == "TopK") {
      const int64_t at = outer * p.k * p.inner + column;
      top_line(p, x, places, call.output<T>() + at, call.outputs.size() > 1 ? call.output<int64_t>(1) + at : nullptr);
    } else if (op == "CumSum") {
      cumulate_line(p, x, call.output<T>() + (x - call.input<T>(0)));
    } else {
      arg_line(p, x, call.output<int64_t>() + line);
    }
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  switch (call.problem->inputs[0].dtype) {
    case DType::f32:
      return run_lines<float>(call, p, member);
    case DType::f64:
      return run_lines<double>(call, p, member);
    case DType::i32:
      return run_lines<int32_t>(call, p, member);
    case DType::i64:
      return run_lines<int64_t>(call, p, member);
    default:
      return run_lines<uint8_t>(call, p, member);
  }
}

}  // namespace

const GraphKernel& lines_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.lines",
                                     .ops = {"ArgMax", "ArgMin", "CumSum", "TopK"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
