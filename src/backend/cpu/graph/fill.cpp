// OneHot and Trilu: elements that follow from where they are. (ConstantOfShape and Range, whose inputs are known when
// they are bound, are computed there.)
#include <algorithm>
#include <cstring>

#include "backend/cpu/element_types.h"
#include "backend/cpu/graph_attributes.h"

namespace lathe::backend {
namespace {

using tensor::DType;

struct Prepared {
  int64_t inner = 1, depth = 1;   // OneHot: [outer][depth][inner]
  int64_t rows = 1, columns = 1;  // Trilu: of a matrix
  bool upper = true;
};

bool is_index(DType dtype) {
  return dtype == DType::i64 || dtype == DType::i32 || dtype == DType::f32;
}

std::optional<std::string> fit(Problem& problem) {
  const std::string& op = problem.instruction->op;
  const ProblemValue& y = problem.outputs[0];
  if (element_bytes(y) == 0) return "elements of less than a byte";
  if (op == "OneHot" && !is_index(problem.inputs[0].dtype)) return "indices of another type";
  if (op == "Trilu") {
    const bool diagonal =
        !problem.has_input(1) || (problem.inputs[1].dtype == DType::i64 && problem.inputs[1].size() == 1);
    if (y.dims.size() < 2 || !diagonal) return "no matrix, or a diagonal that is no number";
  }
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const std::string& op = problem.instruction->op;
  const tensor::Dims& dims = problem.outputs[0].dims;
  if (op == "OneHot") {
    const size_t axis = axis_at(problem.attributes().get_int("axis", -1), dims.size());
    p->depth = dims[axis];
    p->inner = tensor::element_count(std::span(dims).subspan(axis + 1));
  } else {
    p->upper = problem.attributes().get_int("upper", 1) != 0;
    p->columns = dims.back();
    p->rows = dims[dims.size() - 2];
  }
  return p;
}

// The index that element i of OneHot's indices means, or -1 for none.
int64_t index_at(const GraphCall& call, const Prepared& p, int64_t i) noexcept {
  int64_t index = -1;
  switch (call.problem->inputs[0].dtype) {
    case DType::i64:
      index = call.input<int64_t>(0)[i];
      break;
    case DType::i32:
      index = call.input<int32_t>(0)[i];
      break;
    default: {
      const float x = call.input(0)[i];
      // Fractions and NaN are no index; nor is what lies outside, which a cast might not stand.
      if (!(x >= -0x1p31f && x < 0x1p31f) || float(int64_t(x)) != x) return -1;
      index = int64_t(x);
    }
  }
  if (index < 0) index += p.depth;
  return index >= 0 && index < p.depth ? index : -1;
}

// Rows [begin, end) of outer * depth: `inner` elements each.
template <class T>
void one_hot(const GraphCall& call, const Prepared& p, int64_t begin, int64_t end) noexcept {
  const T off = call.input<T>(2)[0], on = call.input<T>(2)[1];
  if (p.inner == 1) {  // the indices' rows, whole
    const int64_t first = begin / p.depth, last = (end + p.depth - 1) / p.depth;
    std::fill(call.output<T>() + begin, call.output<T>() + end, off);
    for (int64_t i = first; i < last; ++i) {
      const int64_t index = index_at(call, p, i);
      const int64_t at = i * p.depth + index;
      if (index >= 0 && at >= begin && at < end) call.output<T>()[at] = on;
    }
    return;
  }
  for (int64_t row = begin; row < end; ++row) {
    const int64_t outer = row / p.depth, position = row % p.depth;
    for (int64_t j = 0; j < p.inner; ++j) {
      call.output<T>()[row * p.inner + j] = index_at(call, p, outer * p.inner + j) == position ? on : off;
    }
  }
}

template <class T>
void triangle(const GraphCall& call, const Prepared& p, int64_t begin, int64_t end) noexcept {
  const int64_t given = call.problem->has_input(1) ? *call.input<int64_t>(1) : 0;
  const int64_t k = std::clamp(given, -p.rows - 1, p.columns + 1);
  for (int64_t row = begin; row < end; ++row) {
    const T* x = call.input<T>(0) + row * p.columns;
    T* y = call.output<T>() + row * p.columns;
    const int64_t diagonal = row % p.rows + k;
    // Columns from `edge` on are kept (upper), or those before it.
    const int64_t edge = std::clamp<int64_t>(p.upper ? diagonal : diagonal + 1, 0, p.columns);
    if (p.upper) {
      std::fill(y, y + edge, T{});
      std::copy(x + edge, x + p.columns, y + edge);
    } else {
      std::copy(x, x + edge, y);
      std::fill(y + edge, y + p.columns, T{});
    }
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const std::string& op = call.problem->instruction->op;
  const ProblemValue& y = call.problem->outputs[0];
  const int64_t size = y.size();
  if (size == 0) return;
  cpu::with_element(element_bytes(y), [&](auto zero) {
    using T = decltype(zero);
    if (op == "OneHot") {
      const auto [begin, end] = member.share(size / p.inner);
      one_hot<T>(call, p, begin, end);
    } else {
      const auto [begin, end] = member.share(size / p.columns);
      triangle<T>(call, p, begin, end);
    }
  });
}

}  // namespace

const GraphKernel& fill_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.fill",
                                     .ops = {"OneHot", "Trilu"},
                                     .fit = fit,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
