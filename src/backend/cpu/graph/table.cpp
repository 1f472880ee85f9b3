// lathe.Table: a byte for each byte.
#include "backend/cpu/graph_attributes.h"

namespace lathe::backend {
namespace {

std::optional<std::string> fit(Problem& problem) {
  problem.outputs[0].order = problem.inputs[0].order;
  return std::nullopt;
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const uint8_t* x = call.input<uint8_t>(0);
  const uint8_t* table = call.input<uint8_t>(1);
  uint8_t* y = call.output<uint8_t>();
  const auto [begin, end] = member.share(call.problem->inputs[0].size(), 64);
  for (int64_t i = begin; i < end; ++i) y[i] = table[x[i]];
}

}  // namespace

const GraphKernel& table_graph_kernel() {
  static const GraphKernel kernel = {
      .name = "cpu.table", .ops = {"lathe.Table"}, .fit = fit, .run = run, .in_place = true};
  return kernel;
}

}  // namespace lathe::backend
