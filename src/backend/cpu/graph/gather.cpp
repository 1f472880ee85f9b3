// Gather along an axis: whole rows are copied. An index out of range is left to the reference, which says where it is.
#include <cstring>

#include "backend/cpu/graph_attributes.h"

namespace lathe::backend {
namespace {

struct Prepared {
  int64_t outer, length, indices;
  size_t row_bytes;
};

std::optional<std::string> fit(Problem& problem) {
  if (element_bytes(problem.inputs[0]) == 0) return "elements of less than a byte";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  const ProblemValue& x = problem.inputs[0];
  const size_t axis = axis_at(problem.attributes().get_int("axis", 0), x.dims.size());
  auto p = std::make_shared<Prepared>();
  p->outer = tensor::element_count(std::span(x.dims).first(axis));
  p->length = x.dims[axis];
  p->indices = problem.inputs[1].size();
  p->row_bytes = size_t(tensor::element_count(std::span(x.dims).subspan(axis + 1))) * element_bytes(x);
  return p;
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const bool wide = call.problem->inputs[1].dtype == tensor::DType::i64;
  const auto [begin, end] = member.share(p.outer * p.indices);
  for (int64_t at = begin; at < end; ++at) {
    const int64_t i = at % p.indices;
    int64_t index = wide ? call.input<int64_t>(1)[i] : call.input<int32_t>(1)[i];
    if (index < 0) index += p.length;
    if (index < 0 || index >= p.length) return call.refuse();
    std::memcpy(call.outputs[0] + size_t(at) * p.row_bytes,
                call.inputs[0] + size_t(at / p.indices * p.length + index) * p.row_bytes, p.row_bytes);
  }
}

}  // namespace

const GraphKernel& gather_graph_kernel() {
  static const GraphKernel kernel = {
      .name = "cpu.gather", .ops = {"Gather"}, .fit = fit, .prepare = prepare, .run = run};
  return kernel;
}

}  // namespace lathe::backend
