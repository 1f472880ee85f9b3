// The plan of a graph of any kind: instructions over values whose lengths a session binds when inputs come.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "op/op.h"
#include "plan/plan.h"

namespace lathe::plan {

// What an instruction computes or the caller gives.
struct GraphValue {
  std::string name;   // the graph's
  op::TypeInfo type;  // as inferred: lengths may be symbols, or not known at all
};

struct GraphOutput {
  std::string name;
  Operand operand;
};

// Operands of kind `buffer` are indices into `values`. Each value is an input or written by one instruction, before it
// is read.
struct GraphPlan {
  std::string device = "cpu";
  std::vector<GraphValue> values;
  std::vector<Constant> constants;  // offset and bytes: of what an engine stores
  std::vector<Instruction> instructions;  // kernel: chosen when lengths are known, empty here
  std::vector<int64_t> inputs;  // values
  std::vector<GraphOutput> outputs;
};

// A plan and its constants: those of layout "plain" as they are, the others as packed bytes (u8).
struct GraphModel {
  GraphPlan plan;
  std::vector<tensor::Tensor> constants;  // one for each of plan.constants
  // Constants of a packed layout that are still as they were, so far: what an engine stores of layouts without an
  // inverse. backend::load_graph packs them; a session takes no model that has any.
  std::vector<size_t> to_pack = {};
};

// The type of an operand of the plan; undefined where it is absent.
op::TypeInfo type_of(const GraphPlan& plan, const Operand& operand);
// The types of all values, inferred again from those of the inputs, without the elements that inference knows.
// Throws invalid_input naming the instruction: operators, attributes and operands that do not go together. Indices have
// been checked.
std::vector<op::TypeInfo> infer_types(const GraphModel& model);
// Throws invalid_input for a plan that cannot be run, bodies included: indices out of range, values read before they
// are written or written twice, names that come twice, types that are not what the operators give. A plan that was read
// from a file is not trusted; what it asks of kernels is for backend::load_graph to check.
void check(const GraphModel& model);
// One line per constant, instruction and output, those of bodies indented; what tests of printed plans compare.
std::string print(const GraphModel& model);

}  // namespace lathe::plan
