// Measuring a compiled graph: milliseconds a call, and where they go.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/graph_session.h"

namespace lathe::bench {

struct GraphBenchOptions {
  int repeats = 9;
  int warmup = 2;        // calls before them; the first binds the graph
  double min_ms = 200;   // of all repeats together: short calls are repeated more often
};

struct GraphResult {
  double first_ms = 0;          // the first call, binding included
  std::vector<double> samples;  // ms a call
  double median = 0;
};

// Throws usage for no repeats.
GraphResult run(runtime::GraphSession& session, const runtime::GraphSession::Data& inputs,
                const GraphBenchOptions& options);

// By kernel and operator, most time first.
struct ProfileLine {
  std::string op, kernel;
  int64_t count = 0;
  double ms = 0;
};
std::vector<ProfileLine> summarise(const std::vector<runtime::InstructionTime>& times);

// An input of this type for measuring: uniform floats in [-1, 1) from a fixed sequence, ones for integers. Throws
// unsupported for symbols in its shape and for types without numbers.
tensor::Tensor sample_input(const std::string& name, const op::TypeInfo& type);

}  // namespace lathe::bench
