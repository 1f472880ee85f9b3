// The table of contrib operators, generated from the files in frontend/contrib, and what their expansions share.
#include "frontend/contrib.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace lathe::frontend {

#include "frontend_contrib_declarations.inc"

namespace {

constexpr std::string_view kDomain = "com.microsoft";

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> result;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) result.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result;
}

// Wrong in itself, whatever can be expanded: inputs that are missing or too many.
void check_inputs(const ContribOp& op, const PendingNode& node) {
  std::vector<std::string_view> names = words(op.inputs);
  size_t most = names.size();
  if (!names.empty() && names.back() == "...") {
    names.pop_back();
    most = std::numeric_limits<size_t>::max();
  }
  if (node.inputs.size() > most)
    fail(ErrorCode::invalid_input, "expected at most {} inputs, found {}", most, node.inputs.size());
  for (size_t i = 0; i < names.size(); ++i) {
    const bool given = i < node.inputs.size() && node.inputs[i];
    if (!names[i].ends_with('?') && !given) fail(ErrorCode::invalid_input, "input {} ({}) is missing", i, names[i]);
  }
}

}  // namespace

std::span<const ContribOp* const> all_contrib_ops() {
  using Getter = std::span<const ContribOp> (*)();
  static constexpr Getter kGetters[] = {
#include "frontend_contrib_entries.inc"
  };
  static const auto kTable = [] {
    std::vector<const ContribOp*> table;
    for (const Getter getter : kGetters) {
      for (const ContribOp& op : getter()) table.push_back(&op);
    }
    return table;
  }();
  return kTable;
}

const ContribOp* find_contrib(std::string_view domain, std::string_view op) {
  const bool standard = domain.empty() || domain == "ai.onnx";
  if (!standard && domain != kDomain) return nullptr;
  for (const ContribOp* candidate : all_contrib_ops()) {
    if (candidate->name == op && (!standard || candidate->standard_domain)) return candidate;
  }
  return nullptr;
}

std::string_view contrib_refusal(std::string_view domain, std::string_view op) {
  if (domain == "com.microsoft.nchwc") {
    return "a layout for the CPU that the file was optimised on; optimise it at level EXTENDED, or export the original "
           "model";
  }
  const ContribOp* contrib = find_contrib(domain, op);
  return contrib ? contrib->refusal : std::string_view();
}

Results expand_contrib(ir::Graph& graph, const ContribOp& op, const PendingNode& node) {
  if (!op.refusal.empty()) fail(ErrorCode::unsupported, "{}", op.refusal);
  check_inputs(op, node);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (!node.inputs[i] || graph.type(node.inputs[i]).dtype != tensor::DType::undefined) continue;
    fail(ErrorCode::unsupported, "input {} (\"{}\"): its type must be known", i, graph.name(node.inputs[i]));
  }
  const auto known = words(op.attributes);
  for (const auto& [name, value] : node.attributes) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      fail(ErrorCode::unsupported, "attribute \"{}\" has no expansion", name);
    }
  }
  if (node.outputs > op.outputs) {
    fail(ErrorCode::invalid_input, "expected at most {} outputs, found {}", op.outputs, node.outputs);
  }
  return op.expand(ContribNode(graph, op, node));
}

ContribNode::ContribNode(ir::Graph& graph, const ContribOp& op, const PendingNode& node)
    : b(graph, node.name), op_(op), node_(node) {}

std::string ContribNode::input_name(size_t i) const {
  const auto names = words(op_.inputs);
  std::string_view name = i < names.size() ? names[i] : "";
  if (name == "...") name = "";
  if (name.ends_with('?')) name.remove_suffix(1);
  std::string text = name.empty() ? fmt::format("input {}", i) : fmt::format("input {} ({})", i, name);
  if (has(i)) text += " " + op::to_string(b.graph().type(node_.inputs[i]));
  return text;
}

const op::TypeInfo& ContribNode::type(size_t i) const {
  if (!has(i)) fail(ErrorCode::invalid_input, "{} is missing", input_name(i));
  const op::TypeInfo& type = b.graph().type(node_.inputs[i]);
  if (!type.is_plain()) refuse_input(i, "its rank must be known");
  return type;
}

const tensor::Dim& ContribNode::dim(size_t i, int axis) const {
  const tensor::Shape& of = shape(i);
  const int64_t at = axis < 0 ? axis + int64_t(of.size()) : axis;
  if (at < 0 || at >= int64_t(of.size())) {
    bad_input(i, fmt::format("it has no axis {}", axis));
  }
  return of[size_t(at)];
}

int64_t ContribNode::number(size_t i, int axis) const {
  const tensor::Dim& found = dim(i, axis);
  if (!found.is_constant()) refuse_input(i, fmt::format("axis {} must be a number", axis));
  if (found.value() >= int64_t{1} << 31) bad_input(i, fmt::format("axis {} is too long", axis));
  return found.value();
}

void ContribNode::require_rank(size_t i, std::initializer_list<size_t> ranks) const {
  if (std::find(ranks.begin(), ranks.end(), rank(i)) != ranks.end()) return;
  bad_input(i, fmt::format("expected rank {}", fmt::join(ranks, " or ")));
}

void ContribNode::bad_input(size_t i, std::string_view why) const {
  fail(ErrorCode::invalid_input, "{}: {}", input_name(i), why);
}

void ContribNode::refuse_input(size_t i, std::string_view why) const {
  fail(ErrorCode::unsupported, "{}: {}", input_name(i), why);
}

int64_t ContribNode::get_int(std::string_view name) const {
  const auto value = node_.attributes.find_int(name);
  if (!value) fail(ErrorCode::invalid_input, "attribute \"{}\" is missing", name);
  return *value;
}

void ContribNode::only(std::string_view name, int64_t value, std::string_view why) const {
  const int64_t found = get_int(name, value);
  if (found != value) fail(ErrorCode::unsupported, "attribute \"{}\" is {}: {}", name, found, why);
}

op::Attributes ContribNode::take(std::initializer_list<std::string_view> names) const {
  op::Attributes taken;
  for (const auto& [name, value] : node_.attributes) {
    if (std::find(names.begin(), names.end(), name) != names.end()) taken.set(name, value);
  }
  return taken;
}

}  // namespace lathe::frontend
