// Decision trees of ai.onnx.ml: from a node's attributes, and walked for a row of features.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "op/attributes.h"

namespace lathe::op {

// A comparison of a feature, or a leaf. The numbers are TreeEnsemble's; leaf is none of them.
enum class TreeMode { at_most, below, at_least, above, equal, not_equal, member, leaf };

struct TreeNode {
  TreeMode mode = TreeMode::leaf;
  int64_t feature = 0;
  double value = 0;
  bool nan_is_true = false;  // where a missing feature leads
  size_t when_true = 0;      // indices of nodes
  size_t when_false = 0;
  std::vector<double> members;  // of a member node
  // What a leaf gives: target and weight.
  std::vector<std::pair<int64_t, double>> votes;
};

// Checked when it is made: all indices lie in their lists.
struct Forest {
  std::vector<TreeNode> nodes;
  std::vector<size_t> roots;
  int64_t targets = 0;
};

// TreeEnsemble's attributes.
Forest read_tree_ensemble(const Attributes& attributes);
// Attributes of its predecessors, whose leaves' votes begin with `votes`: "target" or "class".
Forest read_node_lists(std::string_view op, const Attributes& attributes, std::string_view votes, int64_t targets);
// Reals given as a list, or under `name`_as_tensor; empty if neither is there.
std::vector<double> reals_or_tensor(std::string_view op, const Attributes& attributes, std::string_view name);

// Throws unless a row of `features` features has all that the trees look at.
void require_tree_features(std::string_view op, const Forest& forest, int64_t features);

enum class Aggregate { average, sum, min, max };
// The trees' votes for each target; 0 where there is none. Throws invalid_input when a tree goes round in circles.
std::vector<double> aggregate_votes(const Forest& forest, Aggregate how, std::span<const double> row);

}  // namespace lathe::op
