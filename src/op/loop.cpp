// A graph again and again, at most `trip count` times, as long as the condition that it computes holds.
//
// Inputs: trip count, condition (either may be absent), N states, num_captures captured values. The body takes the
// round's number, the condition, states and captured values; it gives the condition, the states, and K values that are
// stacked over the rounds. Outputs: last states, stacks.
#include <limits>

#include "op/sequences.h"
#include "op/subgraph.h"

namespace lathe::op {
namespace {

struct Layout {
  Layout(const Attributes& attributes, size_t inputs, size_t outputs) : body(attributes.get_graph("body")) {
    const int64_t given = attributes.get_int("num_captures", 0);
    if (given < 0 || size_t(given) + 2 > inputs) fail(ErrorCode::invalid_input, "{} captures", given);
    captures = size_t(given);
    states = inputs - 2 - captures;
    const size_t results = body.output_types().size();
    if (body.input_types().size() != inputs || results != 1 + outputs || outputs < states) {
      fail(ErrorCode::invalid_input, "{} inputs and {} outputs, but {} and {} of the body", inputs, outputs,
           body.input_types().size(), results);
    }
  }

  const Subgraph& body;
  size_t captures;
  size_t states;
};

void infer(InferContext& context) {
  const Layout layout(context.attributes, context.inputs.size(), context.outputs.size());
  const auto inputs = layout.body.input_types();
  const auto results = layout.body.output_types();
  for (size_t i = 0; i < context.outputs.size(); ++i) {
    if (i < layout.states) {
      context.outputs[i] = seen_outside(context, inputs[2 + i], i);
      continue;
    }
    TypeInfo stack = results[1 + i];
    if (stack.is_plain())
      stack.shape.insert(stack.shape.begin(), tensor::Dim::symbol("rounds of " + context.unique_name));
    context.outputs[i] = seen_outside(context, stack, i);
  }
}

// A round's number or condition as the body declares it: a scalar, or a list of one.
tensor::Tensor shaped(const tensor::Tensor& scalar, const TypeInfo& type) {
  return type.ranked && type.shape.size() == 1 ? scalar.reshaped({1}) : scalar;
}

void evaluate(DataContext& context) {
  const Layout layout(context.attributes, context.inputs.size(), context.outputs.size());
  const auto types = layout.body.input_types();
  const int64_t trips = context.has_input(0) ? index_of(context.inputs[0]) : std::numeric_limits<int64_t>::max();
  bool go_on = !context.has_input(1) || index_of(context.inputs[1]) != 0;
  std::vector<Datum> values = std::move(context.inputs);  // number, condition, states, captures
  std::vector<std::vector<tensor::Tensor>> stacks(context.outputs.size() - layout.states);
  for (int64_t round = 0; go_on && round < trips; ++round) {
    if (round >= context.limits.max_iterations) {
      fail(ErrorCode::resource, "not done after {} rounds, which is all that --max-iterations allows", round);
    }
    values[0] = shaped(tensor::Tensor::scalar(round), types[0]);
    values[1] = shaped(tensor::Tensor::scalar(true), types[1]);
    std::vector<Datum> results = layout.body.evaluate(values, context.limits);
    go_on = index_of(results[0]) != 0;
    for (size_t i = 0; i < layout.states; ++i) values[2 + i] = std::move(results[1 + i]);
    for (size_t i = 0; i < stacks.size(); ++i) stacks[i].push_back(results[1 + layout.states + i].tensor());
  }
  const auto results = layout.body.output_types();
  for (size_t i = 0; i < context.outputs.size(); ++i) {
    if (i < layout.states) {
      context.outputs[i] = std::move(values[2 + i]);
      continue;
    }
    auto& stack = stacks[i - layout.states];
    context.outputs[i] = stack.empty() ? stacked_nothing(results[1 + i]) : stacked(std::move(stack), 0);
  }
}

}  // namespace

const OpDef& loop_op() {
  static const OpDef def{.name = "Loop",
                         .min_inputs = 2,
                         .max_inputs = kVariadic,
                         .max_outputs = kVariadic,
                         .attributes = {{"body", AttributeKind::graph, true}, {"num_captures", AttributeKind::integer}},
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
