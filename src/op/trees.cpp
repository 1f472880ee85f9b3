#include "op/trees.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "op/ml.h"

namespace lathe::op {
namespace {

bool holds(const TreeNode& node, double x) {
  if (std::isnan(x)) return node.nan_is_true;
  switch (node.mode) {
    case TreeMode::at_most:
      return x <= node.value;
    case TreeMode::below:
      return x < node.value;
    case TreeMode::at_least:
      return x >= node.value;
    case TreeMode::above:
      return x > node.value;
    case TreeMode::equal:
      return x == node.value;
    case TreeMode::not_equal:
      return x != node.value;
    default:
      return std::find(node.members.begin(), node.members.end(), x) != node.members.end();
  }
}

// A walk that takes more steps than there are nodes has come back to one.
const TreeNode& find_leaf(const Forest& forest, size_t root, std::span<const double> row) {
  size_t at = root;
  for (size_t steps = 0; steps <= forest.nodes.size(); ++steps) {
    const TreeNode& node = forest.nodes[at];
    if (node.mode == TreeMode::leaf) return node;
    at = holds(node, row[size_t(node.feature)]) ? node.when_true : node.when_false;
  }
  fail(ErrorCode::invalid_input, "tree at node {} never comes to a leaf", root);
}

int64_t in_range(std::string_view op, std::string_view what, int64_t index, size_t count) {
  if (index < 0 || index >= int64_t(count)) {
    fail(ErrorCode::invalid_input, "{}: {} {} is outside of {}", op, what, index, count);
  }
  return index;
}

// A list of TreeEnsemble as long as there are nodes (or leaves).
const std::vector<int64_t>& column(const Attributes& attributes, std::string_view name, size_t count) {
  const auto& list = get_list<int64_t>(attributes, name);
  require_length("TreeEnsemble", name, list.size(), int64_t(count));
  return list;
}

std::vector<double> tensor_column(const Attributes& attributes, std::string_view name) {
  const tensor::Tensor* tensor = attributes.find_tensor(name);
  if (!tensor) fail(ErrorCode::invalid_input, "TreeEnsemble: no {}", name);
  if (!tensor::is_float(tensor->dtype()) && !tensor::is_integer(tensor->dtype())) {
    fail(ErrorCode::invalid_input, "TreeEnsemble: {} is {}", name, tensor::to_string(tensor->dtype()));
  }
  return load<double>(*tensor);
}

// Sets of members, delimited by NaN, in the order of the nodes that ask for them.
void read_members(const Attributes& attributes, std::vector<TreeNode>& nodes) {
  std::vector<TreeNode*> asking;
  for (TreeNode& node : nodes) {
    if (node.mode == TreeMode::member) asking.push_back(&node);
  }
  if (asking.empty()) return;
  size_t set = 0;
  for (const double value : tensor_column(attributes, "membership_values")) {
    if (std::isnan(value)) {
      ++set;
    } else {
      in_range("TreeEnsemble", "set of members", int64_t(set), asking.size());
      asking[set]->members.push_back(value);
    }
  }
  // The last set may do without a delimiter.
  if (set != asking.size() && set + 1 != asking.size()) {
    fail(ErrorCode::invalid_input, "TreeEnsemble: {} sets of members for {} nodes", set, asking.size());
  }
}

TreeMode mode_of_name(std::string_view op, std::string_view name) {
  constexpr std::string_view kNames[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                         "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
  const auto it = std::find(std::begin(kNames), std::end(kNames), name);
  if (it == std::end(kNames) || name == "BRANCH_MEMBER") {
    fail(ErrorCode::invalid_input, "{}: unknown node mode \"{}\"", op, name);
  }
  return TreeMode(it - std::begin(kNames));
}

using NodeIds = std::map<std::pair<int64_t, int64_t>, size_t>;  // tree and node id -> index

size_t find_node(std::string_view op, const NodeIds& ids, int64_t tree, int64_t node) {
  const auto it = ids.find({tree, node});
  if (it == ids.end()) fail(ErrorCode::invalid_input, "{}: tree {} has no node {}", op, tree, node);
  return it->second;
}

// Each tree begins at the one node that is no other's child.
void find_roots(std::string_view op, Forest& forest, const NodeIds& ids) {
  std::vector<bool> is_child(forest.nodes.size());
  for (const TreeNode& node : forest.nodes) {
    if (node.mode != TreeMode::leaf) is_child[node.when_true] = is_child[node.when_false] = true;
  }
  std::map<int64_t, size_t> roots;
  for (const auto& [id, index] : ids) {
    if (is_child[index]) continue;
    if (!roots.emplace(id.first, index).second) {
      fail(ErrorCode::invalid_input, "{}: tree {} has more than one root", op, id.first);
    }
  }
  for (const auto& [id, index] : ids) {
    if (!roots.count(id.first)) fail(ErrorCode::invalid_input, "{}: tree {} has no root", op, id.first);
  }
  for (const auto& [tree, index] : roots) forest.roots.push_back(index);
}

}  // namespace

std::vector<double> reals_or_tensor(std::string_view op, const Attributes& attributes, std::string_view name) {
  const tensor::Tensor* tensor = attributes.find_tensor(fmt::format("{}_as_tensor", name));
  const auto* list = find_list<double>(attributes, name);
  if (tensor && list && !list->empty()) {
    fail(ErrorCode::invalid_input, "{}: both {} and {}_as_tensor", op, name, name);
  }
  if (!tensor) return list ? *list : std::vector<double>{};
  if (tensor->dtype() != tensor::DType::f64 && tensor->dtype() != tensor::DType::f32) {
    fail(ErrorCode::invalid_input, "{}: {}_as_tensor is {}", op, name, tensor::to_string(tensor->dtype()));
  }
  return load<double>(*tensor);
}

// The leaves follow the inner nodes in Forest::nodes.
Forest read_tree_ensemble(const Attributes& attributes) {
  constexpr std::string_view kOp = "TreeEnsemble";
  const std::vector<double> modes = tensor_column(attributes, "nodes_modes");
  const std::vector<double> splits = tensor_column(attributes, "nodes_splits");
  const std::vector<double> weights = tensor_column(attributes, "leaf_weights");
  const size_t inner = modes.size();
  require_length(kOp, "nodes_splits", splits.size(), int64_t(inner));
  const auto& features = column(attributes, "nodes_featureids", inner);
  const auto& true_ids = column(attributes, "nodes_truenodeids", inner);
  const auto& false_ids = column(attributes, "nodes_falsenodeids", inner);
  const auto& true_leafs = column(attributes, "nodes_trueleafs", inner);
  const auto& false_leafs = column(attributes, "nodes_falseleafs", inner);
  const auto& targets = column(attributes, "leaf_targetids", weights.size());
  const auto& missing = get_list<int64_t>(attributes, "nodes_missing_value_tracks_true");
  if (!missing.empty()) require_length(kOp, "nodes_missing_value_tracks_true", missing.size(), int64_t(inner));
  Forest forest;
  forest.targets = attributes.get_int("n_targets", 0);
  if (forest.targets < 1) fail(ErrorCode::invalid_input, "{}: n_targets is {}", kOp, forest.targets);
  const auto child = [&](int64_t id, bool leaf) {
    return leaf ? inner + size_t(in_range(kOp, "leaf", id, weights.size())) : size_t(in_range(kOp, "node", id, inner));
  };
  for (size_t i = 0; i < inner; ++i) {
    if (!(modes[i] >= 0 && modes[i] <= double(TreeMode::member))) {
      fail(ErrorCode::invalid_input, "{}: unknown node mode {}", kOp, modes[i]);
    }
    forest.nodes.push_back({.mode = TreeMode(int(modes[i])),
                            .feature = in_range(kOp, "feature", features[i], INT64_MAX),
                            .value = splits[i],
                            .nan_is_true = !missing.empty() && missing[i] != 0,
                            .when_true = child(true_ids[i], true_leafs[i] != 0),
                            .when_false = child(false_ids[i], false_leafs[i] != 0),
                            .members = {},
                            .votes = {}});
  }
  read_members(attributes, forest.nodes);
  for (size_t i = 0; i < weights.size(); ++i) {
    forest.nodes.emplace_back().votes = {{in_range(kOp, "target", targets[i], size_t(forest.targets)), weights[i]}};
  }
  for (const int64_t root : get_list<int64_t>(attributes, "tree_roots")) {
    forest.roots.push_back(size_t(in_range(kOp, "root", root, inner)));
  }
  return forest;
}

Forest read_node_lists(std::string_view op, const Attributes& attributes, std::string_view votes, int64_t targets) {
  const auto& modes = get_list<std::string>(attributes, "nodes_modes");
  const auto ints = [&](const std::string& name, size_t count) -> const std::vector<int64_t>& {
    const auto& list = get_list<int64_t>(attributes, name);
    require_length(op, name, list.size(), int64_t(count));
    return list;
  };
  const auto& trees = ints("nodes_treeids", modes.size());
  const auto& node_ids = ints("nodes_nodeids", modes.size());
  const auto& features = ints("nodes_featureids", modes.size());
  const auto& true_ids = ints("nodes_truenodeids", modes.size());
  const auto& false_ids = ints("nodes_falsenodeids", modes.size());
  const std::vector<double> values = reals_or_tensor(op, attributes, "nodes_values");
  require_length(op, "nodes_values", values.size(), int64_t(modes.size()));
  const auto& missing = get_list<int64_t>(attributes, "nodes_missing_value_tracks_true");
  if (!missing.empty()) require_length(op, "nodes_missing_value_tracks_true", missing.size(), int64_t(modes.size()));
  Forest forest;
  forest.targets = targets;
  forest.nodes.resize(modes.size());
  NodeIds ids;
  for (size_t i = 0; i < modes.size(); ++i) {
    if (!ids.emplace(std::pair(trees[i], node_ids[i]), i).second) {
      fail(ErrorCode::invalid_input, "{}: tree {} has node {} twice", op, trees[i], node_ids[i]);
    }
  }
  for (size_t i = 0; i < modes.size(); ++i) {
    TreeNode& node = forest.nodes[i];
    node.mode = mode_of_name(op, modes[i]);
    if (node.mode == TreeMode::leaf) continue;  // what else it has does not count
    node.feature = in_range(op, "feature", features[i], INT64_MAX);
    node.value = values[i];
    node.nan_is_true = !missing.empty() && missing[i] != 0;
    node.when_true = find_node(op, ids, trees[i], true_ids[i]);
    node.when_false = find_node(op, ids, trees[i], false_ids[i]);
  }
  find_roots(op, forest, ids);
  const std::vector<double> weights = reals_or_tensor(op, attributes, fmt::format("{}_weights", votes));
  const auto& vote_trees = ints(fmt::format("{}_treeids", votes), weights.size());
  const auto& vote_nodes = ints(fmt::format("{}_nodeids", votes), weights.size());
  const auto& vote_targets = ints(fmt::format("{}_ids", votes), weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    const int64_t target = in_range(op, "target", vote_targets[i], size_t(targets));
    forest.nodes[find_node(op, ids, vote_trees[i], vote_nodes[i])].votes.emplace_back(target, weights[i]);
  }
  return forest;
}

void require_tree_features(std::string_view op, const Forest& forest, int64_t features) {
  for (const TreeNode& node : forest.nodes) {
    if (node.mode != TreeMode::leaf && node.feature >= features) {
      fail(ErrorCode::invalid_input, "{}: a tree looks at feature {} of {}", op, node.feature, features);
    }
  }
}

std::vector<double> aggregate_votes(const Forest& forest, Aggregate how, std::span<const double> row) {
  std::vector<double> totals(size_t(forest.targets), 0);
  std::vector<bool> seen(size_t(forest.targets));
  for (const size_t root : forest.roots) {
    for (const auto& [target, weight] : find_leaf(forest, root, row).votes) {
      double& total = totals[size_t(target)];
      if (how == Aggregate::sum || how == Aggregate::average)
        total += weight;
      else if (!seen[size_t(target)])
        total = weight;
      else
        total = how == Aggregate::min ? std::min(total, weight) : std::max(total, weight);
      seen[size_t(target)] = true;
    }
  }
  if (how == Aggregate::average && !forest.roots.empty()) {
    for (double& total : totals) total /= double(forest.roots.size());
  }
  return totals;
}

}  // namespace lathe::op
