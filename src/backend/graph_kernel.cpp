#include "backend/graph_kernel.h"

#include <algorithm>

#include "backend/device.h"
#include "base/error.h"

namespace lathe::backend {

std::string_view to_string(Order order) {
  return order == Order::plain ? "plain" : "channels_last";
}

bool same_bytes(const tensor::Dims& dims) {
  if (dims.size() < 3 || dims[1] == 1) return true;
  return tensor::element_count(std::span(dims).subspan(2)) == 1;
}

const GraphKernel* find_graph_kernel(const Device& device, Problem& problem, std::vector<std::string>* refusals) {
  for (const bool views : {true, false}) {  // what moves nothing first
    for (const GraphKernel* kernel : device.graph_kernels) {
      const auto& ops = kernel->ops;
      if ((kernel->run == nullptr) != views) continue;
      if (std::find(ops.begin(), ops.end(), problem.instruction->op) == ops.end()) continue;
      const Problem before = problem;
      const auto why = kernel->fit(problem);
      if (!why) return kernel;
      problem = before;
      if (refusals) refusals->push_back(fmt::format("{}: {}", kernel->name, *why));
    }
  }
  return nullptr;
}

const GraphLayout* find_graph_layout(const Device& device, std::string_view name) {
  const auto layouts = device.graph_layouts;
  const auto it = std::find_if(layouts.begin(), layouts.end(), [&](const GraphLayout* l) { return l->name == name; });
  return it == layouts.end() ? nullptr : *it;
}

}  // namespace lathe::backend
