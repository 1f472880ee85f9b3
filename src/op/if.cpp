// One of two graphs. Inputs: the condition, what else_branch captures, what then_branch captures.
#include "op/sequences.h"
#include "op/subgraph.h"

namespace lathe::op {
namespace {

// Attributes are in the order of their names: else_branch's captures come first.
struct Branches {
  explicit Branches(const Attributes& attributes)
      : then_branch(attributes.get_graph("then_branch")), else_branch(attributes.get_graph("else_branch")) {}

  size_t else_inputs() const { return else_branch.input_types().size(); }
  size_t then_inputs() const { return then_branch.input_types().size(); }

  const Subgraph& then_branch;
  const Subgraph& else_branch;
};

void infer(InferContext& context) {
  const Branches branches(context.attributes);
  const size_t wanted = 1 + branches.else_inputs() + branches.then_inputs();
  if (context.inputs.size() != wanted) bad(context, "expected {} inputs, found {}", wanted, context.inputs.size());
  const TypeInfo& condition = context.input(0);
  if (condition.is_plain() && condition.dtype != tensor::DType::boolean) {
    bad(context, "condition: expected boolean, found {}", to_string(condition));
  }
  const auto then_types = branches.then_branch.output_types();
  const auto else_types = branches.else_branch.output_types();
  if (then_types.size() != context.outputs.size() || else_types.size() != context.outputs.size()) {
    bad(context, "{} outputs of branches with {} and {}", context.outputs.size(), then_types.size(), else_types.size());
  }
  for (size_t i = 0; i < context.outputs.size(); ++i) {
    context.outputs[i] =
        join(context, seen_outside(context, then_types[i], i), seen_outside(context, else_types[i], i), i);
  }
}

void evaluate(DataContext& context) {
  const Branches branches(context.attributes);
  const auto else_begin = context.inputs.begin() + 1;
  const auto then_begin = else_begin + std::ptrdiff_t(branches.else_inputs());
  context.outputs = index_of(context.inputs[0]) != 0
                        ? branches.then_branch.evaluate({then_begin, context.inputs.end()}, context.limits)
                        : branches.else_branch.evaluate({else_begin, then_begin}, context.limits);
}

}  // namespace

const OpDef& if_op() {
  static const OpDef def{
      .name = "If",
      .min_inputs = 1,
      .max_inputs = kVariadic,
      .max_outputs = kVariadic,
      .attributes = {{"else_branch", AttributeKind::graph, true}, {"then_branch", AttributeKind::graph, true}},
      .infers_any = true,
      .infer = infer,
      .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
