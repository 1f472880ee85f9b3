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
  std::vector<Constant> constants;  // offset is not used yet: graphs are compiled when they are loaded
  std::vector<Instruction> instructions;  // kernel: chosen when lengths are known, empty here
  std::vector<int64_t> inputs;  // values
  std::vector<GraphOutput> outputs;
};

// A plan and its constants: those of layout "plain" as they are, the others as packed bytes (u8).
struct GraphModel {
  GraphPlan plan;
  std::vector<tensor::Tensor> constants;  // one for each of plan.constants
};

}  // namespace lathe::plan
