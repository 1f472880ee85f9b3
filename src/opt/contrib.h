// From several nodes to one operator of com.microsoft, for files that ONNX Runtime is to run. A rule for each operator,
// one file each in opt/contrib, `const ContribRule& <name>_contrib()`; they make nodes `lathe.Contrib`.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "opt/pass_manager.h"
#include "opt/rule.h"

namespace lathe::opt {

struct ContribRule {
  Rule rule;  // called "contrib_" and the file's name
  // ONNX has the operator itself from this opset on, and the rule does not run.
  int until = std::numeric_limits<int>::max();
};

// All of them, sorted by name.
std::vector<const ContribRule*> contrib_rules();
// Lets a graph, and the graphs in its nodes, use them where `opset` is written. Run it before operators are lowered to
// the opset, and again after: what lowering writes has places for them too.
// Says in `reports` what it did.
void use_contrib(ir::Graph& graph, int opset, const PassOptions& options, std::vector<PassReport>& reports);

struct ContribCall {
  std::string_view op;
  std::vector<ir::Value> inputs;  // as the operator has them, absent ones too
  op::Attributes attributes;
  std::vector<ir::Value> results;  // what its outputs stand for, absent where nobody asks
  std::string_view domain = "com.microsoft";
};
// Lets all who read `results` read the call. Its meaning are the nodes that make the results of the inputs now. Returns
// false and changes nothing where a result is read before all inputs are there.
bool replace_by_call(ir::Graph& graph, const ContribCall& call, ir::NodeId root);
// The same where the call's inputs are not what the results are made of now. Its meaning is a node like `root` whose
// inputs are the call's of these numbers, absent from the call's last one on.
bool replace_by_call(ir::Graph& graph, const ContribCall& call, ir::NodeId root, const std::vector<size_t>& inputs);

// Whether all are f32: what ONNX Runtime's kernels for the CPU compute in. Absent values are.
bool all_f32(const ir::Graph& graph, const std::vector<ir::Value>& values);
// x + b, for a vector b along the last axis of x, in either order.
struct Biased {
  ir::Value x;
  ir::Value bias;
};
std::optional<Biased> find_biased(const ir::Graph& graph, ir::Value sum);
// Whether a norm goes over the last axis of x.
bool is_last_axis(const ir::Graph& graph, const ir::Node& norm, ir::Value x);
// Whether `value` is a vector as long as the last axis of x, which is a number.
bool is_vector_along(const ir::Graph& graph, ir::Value value, ir::Value x);
// input + skip (+ bias), all f32 [.., .., width] or [.., width], as norms after a residual sum read it.
struct SkipSum {
  ir::Value input;
  ir::Value skip;
  ir::Value bias;  // may be absent
};
std::optional<SkipSum> find_skip_sum(const ir::Graph& graph, ir::Value sum);

}  // namespace lathe::opt
