// MatMul of two results: each matrix on the right is packed into panels, then multiplied.
#include <algorithm>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/products.h"
#include "backend/cpu/tiers.h"
#include "backend/graph_order.h"

namespace lathe::backend {
namespace {

constexpr size_t kMaxAxes = 8;

struct Prepared {
  int64_t m, k, n, matrices;
  // Axes before the last two: lengths of the result's, strides of a and b in elements (0 where broadcast).
  size_t axes = 0;
  int64_t dims[kMaxAxes], a_strides[kMaxAxes], b_strides[kMaxAxes];
};

std::optional<std::string> fit(Problem& problem) {
  const ProblemValue& a = problem.inputs[0];
  const ProblemValue& b = problem.inputs[1];
  if (!is_f32(a) || !is_f32(b)) return "types other than f32";
  if (a.dims.size() < 2 || b.dims.size() < 2) return "a vector";
  if (problem.outputs[0].dims.size() > kMaxAxes) return "more than 8 axes";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  const tensor::Dims& a = problem.inputs[0].dims;
  const tensor::Dims& b = problem.inputs[1].dims;
  const tensor::Dims& y = problem.outputs[0].dims;
  auto p = std::make_shared<Prepared>();
  p->m = a[a.size() - 2];
  p->k = a.back();
  p->n = b.back();
  p->axes = y.size() - 2;
  p->matrices = tensor::element_count(std::span(y).first(p->axes));
  const std::vector<int64_t> a_strides = strides_of(a, Order::plain);
  const std::vector<int64_t> b_strides = strides_of(b, Order::plain);
  for (size_t i = 0; i < p->axes; ++i) {
    p->dims[i] = y[i];
    const auto stride = [&](const std::vector<int64_t>& strides) {
      const size_t missing = y.size() - strides.size();
      return i < missing ? 0 : strides[i - missing];
    };
    p->a_strides[i] = stride(a_strides);
    p->b_strides[i] = stride(b_strides);
  }
  return p;
}

int64_t member_floats(const Problem& problem) {
  const tensor::Dims& b = problem.inputs[1].dims;
  return cpu::packed_floats(b[b.size() - 2], b.back()) + cpu::kTileFloats;
}

size_t scratch_size(const Problem& problem) {
  return size_t(member_floats(problem) * problem.threads) * sizeof(float);
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const cpu::ConvTier& tier = cpu::conv_tier(*call.problem);
  float* own = reinterpret_cast<float*>(call.scratch) + member_floats(*call.problem) * member.index();
  const int64_t panels = (p.n + 15) / 16;
  // Whole matrices where there are enough, else everyone packs and multiplies some columns of each.
  const bool by_matrices = p.matrices >= 2 * member.size();
  const auto [first, last] = by_matrices ? member.share(p.matrices) : TeamMember::Range{0, p.matrices};
  const auto [begin, end] = by_matrices ? TeamMember::Range{0, panels} : member.share(panels);
  for (int64_t matrix = first; matrix < last; ++matrix) {
    int64_t rest = matrix, a_at = 0, b_at = 0;
    for (size_t i = p.axes; i-- > 0;) {
      const int64_t index = rest % p.dims[i];
      rest /= p.dims[i];
      a_at += index * p.a_strides[i];
      b_at += index * p.b_strides[i];
    }
    cpu::pack_columns({call.input(1) + b_at, p.k, p.n, p.n, 1}, begin, end, own + cpu::kTileFloats);
    cpu::multiply_panels(tier, {.a = call.input(0) + a_at,
                                .a_stride = p.k,
                                .rows = p.m,
                                .k = p.k,
                                .n = p.n,
                                .panels = own + cpu::kTileFloats,
                                .first = begin,
                                .end = end,
                                .y = call.output() + matrix * p.m * p.n,
                                .y_stride = p.n,
                                .sums = own});
  }
}

}  // namespace

const GraphKernel& matmul_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.matmul",
                                     .ops = {"MatMul"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
