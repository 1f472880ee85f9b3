// The graph that compiled kernels are held to: with its values rounded where the compiled graph rounds them.
#pragma once

#include <string>

#include "ir/graph.h"
#include "plan/graph_plan.h"

namespace lathe::verify {

struct KernelReference {
  ir::Graph graph;
  std::string precision;  // "f32", "bf16", "f16", "i8": for people
  std::string band;       // the precision whose band (bands.h) holds between the graph and the kernels
  bool rounded = false;   // its products with weights are: it is not the graph that was given
  bool forced = false;    // it rounds values, so that each is computed from the reference's (forced_values.h)
};

// For a plan that was made of `original`. A graph whose products round is lowered as the plan was, and rounds at the
// same places. Throws unsupported naming a product of the plan that the lowered graph does not have: passes were
// disabled.
KernelReference kernel_reference(const ir::Graph& original, const plan::GraphModel& model);

}  // namespace lathe::verify
