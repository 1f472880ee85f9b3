// A graph inside an operator (the branches of If, the body of Loop), as operators see it; ir/body.h has the graph.
#pragma once

#include <vector>

#include "op/op.h"

namespace lathe::op {

// Closed: it uses nothing but its inputs. Immutable.
class Subgraph {
 public:
  virtual ~Subgraph() = default;

  virtual std::vector<TypeInfo> input_types() const = 0;
  virtual std::vector<TypeInfo> output_types() const = 0;
  // In the order of inputs and outputs. Throws as the operators in it do.
  virtual std::vector<Datum> evaluate(std::vector<Datum> inputs, const RunLimits& limits) const = 0;
  virtual bool same_as(const Subgraph& other) const = 0;
};

// The type of an output as seen from outside: lengths that only the inside has a name for become unknown lengths of
// the node.
TypeInfo seen_outside(const InferContext& context, const TypeInfo& type, size_t output);
// What is certain when a value is one or the other: lengths that differ become unknown, different ranks unranked; a
// thing and the same thing as an optional are an optional.
// Throws invalid_input for different dtypes or forms.
TypeInfo join(const InferContext& context, const TypeInfo& a, const TypeInfo& b, size_t output);

}  // namespace lathe::op
