// Operators that move elements without looking at them: Concat, DepthToSpace, Expand, Slice, SpaceToDepth, Split,
// Transpose.
#include <algorithm>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/strided_copy.h"

namespace lathe::backend {
namespace {

// One copy between a part of input `input` and a part of output `output`.
struct Part {
  size_t input = 0, output = 0;
  int64_t from = 0, to = 0;  // first element of each
  StridedWalk walk;
};
using Parts = std::vector<Part>;

// A walk over `dims` (by axis) in the order in which y lies.
StridedWalk walk_of(const tensor::Dims& dims, const std::vector<int64_t>& from, const ProblemValue& y) {
  const std::vector<int64_t> to = strides_of(y.dims, y.order);
  std::vector<int64_t> ordered_dims, ordered_from, ordered_to;
  for (const size_t axis : axes_in_order(dims.size(), y.order)) {
    ordered_dims.push_back(dims[axis]);
    ordered_from.push_back(from[axis]);
    ordered_to.push_back(to[axis]);
  }
  return join_axes(ordered_dims, ordered_from, ordered_to);
}

Parts plan_transpose(const Problem& problem) {
  const ProblemValue& x = problem.inputs[0];
  const std::vector<int64_t> strides = strides_of(x.dims, x.order);
  std::vector<int64_t> from;
  for (const int64_t axis : permutation_of(problem)) from.push_back(strides[size_t(axis)]);
  return {{0, 0, 0, 0, walk_of(problem.outputs[0].dims, from, problem.outputs[0])}};
}

Parts plan_expand(const Problem& problem) {
  const ProblemValue& x = problem.inputs[0];
  const ProblemValue& y = problem.outputs[0];
  std::vector<int64_t> from(y.dims.size() - x.dims.size(), 0);
  const std::vector<int64_t> own = strides_of(x.dims, x.order);
  from.insert(from.end(), own.begin(), own.end());
  return {{0, 0, 0, 0, walk_of(y.dims, from, y)}};
}

// starts, ends, axes, steps as inputs 1 to 4, all known.
Parts plan_slice(const Problem& problem) {
  const ProblemValue& x = problem.inputs[0];
  const ProblemValue& y = problem.outputs[0];
  std::vector<int64_t> from = strides_of(x.dims, x.order);
  const std::vector<int64_t> starts = *ints_of(problem, 1);
  const auto axes = ints_of(problem, 3);
  const auto steps = ints_of(problem, 4);
  int64_t first = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    const size_t axis = axes ? axis_at((*axes)[i], x.dims.size()) : i;
    const int64_t step = steps ? (*steps)[i] : 1;
    const int64_t length = x.dims[axis];
    const int64_t start = starts[i] < 0 ? starts[i] + length : starts[i];
    first += std::clamp<int64_t>(start, 0, step < 0 ? length - 1 : length) * from[axis];
    from[axis] *= step;
  }
  return {{0, 0, first, 0, walk_of(y.dims, from, y)}};
}

Parts plan_split(const Problem& problem) {
  const ProblemValue& x = problem.inputs[0];
  const std::vector<int64_t> from = strides_of(x.dims, x.order);
  const size_t axis = axis_at(problem.attributes().get_int("axis", 0), x.dims.size());
  Parts parts;
  int64_t at = 0;
  for (size_t i = 0; i < problem.outputs.size(); ++i) {
    const ProblemValue& y = problem.outputs[i];
    parts.push_back({0, i, at * from[axis], 0, walk_of(y.dims, from, y)});
    at += y.dims[axis];
  }
  return parts;
}

Parts plan_concat(const Problem& problem) {
  const ProblemValue& y = problem.outputs[0];
  const size_t axis = axis_at(problem.attributes().get_int("axis", 0), y.dims.size());
  const int64_t stride = strides_of(y.dims, y.order)[axis];
  Parts parts;
  int64_t at = 0;
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    const ProblemValue& x = problem.inputs[i];
    parts.push_back({i, 0, 0, at * stride, walk_of(x.dims, strides_of(x.dims, x.order), y)});
    at += x.dims[axis];
  }
  return parts;
}

// [n, c, h, w] as [n, c, h, row of the block, w, its column] of the one that has pixels, and back.
Parts plan_blocks(const Problem& problem) {
  const bool to_space = problem.instruction->op == "DepthToSpace";
  const ProblemValue& deep = to_space ? problem.inputs[0] : problem.outputs[0];
  const ProblemValue& wide = to_space ? problem.outputs[0] : problem.inputs[0];
  const int64_t block = problem.attributes().get_int("blocksize", 1);
  const int64_t channels = wide.dims[1];
  const bool block_first = problem.attributes().get_string("mode", "DCR") == "DCR";
  const std::vector<int64_t> d = strides_of(deep.dims, deep.order);
  const std::vector<int64_t> s = strides_of(wide.dims, wide.order);
  const std::vector<int64_t> dims = {wide.dims[0], channels, deep.dims[2], block, deep.dims[3], block};
  // A channel of the deep one is (row * block + column) * channels + c, or with CRD (c * block + row) * block + column.
  const int64_t row = block_first ? block * channels * d[1] : block * d[1];
  const int64_t column = block_first ? channels * d[1] : d[1];
  const std::vector<int64_t> in_deep = {d[0], block_first ? d[1] : block * block * d[1], d[2], row, d[3], column};
  const std::vector<int64_t> in_wide = {s[0], s[1], block * s[2], s[2], block * s[3], s[3]};
  const auto& from = to_space ? in_deep : in_wide;
  const auto& to = to_space ? in_wide : in_deep;
  // From the outermost to the innermost as the result lies.
  std::vector<size_t> order = {0, 1, 2, 3, 4, 5};
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return to[a] > to[b]; });
  std::vector<int64_t> ordered_dims, ordered_from, ordered_to;
  for (const size_t axis : order) {
    ordered_dims.push_back(dims[axis]);
    ordered_from.push_back(from[axis]);
    ordered_to.push_back(to[axis]);
  }
  return {{0, 0, 0, 0, join_axes(ordered_dims, ordered_from, ordered_to)}};
}

Parts plan(const Problem& problem) {
  const std::string& op = problem.instruction->op;
  if (op == "DepthToSpace" || op == "SpaceToDepth") return plan_blocks(problem);
  if (op == "Transpose") return plan_transpose(problem);
  if (op == "Expand") return plan_expand(problem);
  if (op == "Slice") return plan_slice(problem);
  if (op == "Split") return plan_split(problem);
  return plan_concat(problem);
}

std::optional<std::string> fit(Problem& problem) {
  const std::string& op = problem.instruction->op;
  if (element_bytes(problem.inputs[0]) == 0) return "elements of less than a byte";
  if (op == "Slice") {
    for (size_t i = 1; i < problem.inputs.size(); ++i) {
      if (problem.has_input(i) && !problem.inputs[i].known) return "bounds that are not known";
    }
  }
  // Where ranks stay, the order of the (first) input does too.
  const bool same_rank = problem.inputs[0].dims.size() == problem.outputs[0].dims.size();
  const bool keeps = op != "Transpose" && same_rank;
  const Order order = keeps ? problem.inputs[0].order : Order::plain;
  for (ProblemValue& output : problem.outputs) output.order = order;
  if (op == "Concat") {
    for (ProblemValue& input : problem.inputs) input.order = order;
  }
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  return std::make_shared<Parts>(plan(problem));
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const size_t element = element_bytes(call.problem->inputs[0]);
  for (const Part& part : *static_cast<const Parts*>(call.prepared)) {
    if (!call.outputs[part.output]) continue;
    cpu::copy_share(part.walk, element, call.inputs[part.input] + part.from * int64_t(element),
                    call.outputs[part.output] + part.to * int64_t(element), member);
  }
}

}  // namespace

const GraphKernel& move_graph_kernel() {
  static const GraphKernel kernel = {
      .name = "cpu.move",
      .ops = {"Concat", "DepthToSpace", "Expand", "Slice", "SpaceToDepth", "Split", "Transpose"},
      .fit = fit,
      .prepare = prepare,
      .run = run};
  return kernel;
}

}  // namespace lathe::backend
