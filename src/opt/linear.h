// What the rules that grow lathe.Linear share: reading one, and putting a larger one in its place.
#pragma once

#include <string>
#include <vector>

#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {

// The inputs of a lathe.Linear by role (op/lathe_linear.cpp). Absent values where there are none.
struct Linear {
  ir::Value x;
  ir::Value residual;
  ir::Value norm_scale;
  ir::Value norm_bias;
  std::vector<ir::Value> weights;
  std::vector<ir::Value> biases;  // as many as weights
  op::Attributes attributes;

  bool has_bias() const;
  bool has_norm() const { return attributes.get_string("norm", "none") != "none"; }
  std::string activation() const { return attributes.get_string("activation", "none"); }
  std::vector<ir::Value> inputs() const;
};

// The lathe.Linear that computes `value`, if it does and nothing else reads it.
std::optional<Linear> find_linear(const ir::Graph& graph, ir::Value value);

// Same x, same normalisation, same rounding.
bool same_input(const Linear& a, const Linear& b);

// The constant matrix `w` with rows and columns exchanged, as lathe.Linear takes its weights.
ir::Value transposed_constant(ir::Graph& graph, ir::Value w);

// Puts a node `op` in the place of `node`, whose only output it takes over, name and all. Returns true.
bool replace_with(ir::Graph& graph, ir::NodeId node, std::string_view op, std::vector<ir::Value> inputs,
                  op::Attributes attributes);
bool replace_with(ir::Graph& graph, ir::NodeId node, const Linear& linear);

}  // namespace lathe::opt
