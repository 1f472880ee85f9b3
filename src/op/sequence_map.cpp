// A graph over the items of sequences; the results are sequences. Inputs: a sequence, further sequences of its length
// or tensors that every round gets whole, num_captures captured values.
#include "op/sequences.h"
#include "op/subgraph.h"

namespace lathe::op {
namespace {

size_t own_inputs(const Attributes& attributes, size_t inputs) {
  const int64_t captures = attributes.get_int("num_captures", 0);
  if (captures < 0 || size_t(captures) >= inputs) fail(ErrorCode::invalid_input, "{} captures", captures);
  return inputs - size_t(captures);
}

void infer(InferContext& context) {
  const Subgraph& body = context.attributes.get_graph("body");
  own_inputs(context.attributes, context.inputs.size());
  require_sequence(context, 0);
  const auto results = body.output_types();
  if (results.size() != context.outputs.size() || body.input_types().size() != context.inputs.size()) {
    bad(context, "{} inputs and {} outputs, but {} and {} of the body", context.inputs.size(), context.outputs.size(),
        body.input_types().size(), results.size());
  }
  for (size_t i = 0; i < results.size(); ++i) context.outputs[i] = TypeInfo::sequence(results[i].dtype);
}

void evaluate(DataContext& context) {
  const Subgraph& body = context.attributes.get_graph("body");
  const size_t own = own_inputs(context.attributes, context.inputs.size());
  const size_t length = context.inputs[0].items().size();
  std::vector<std::vector<tensor::Tensor>> results(context.outputs.size());
  for (size_t round = 0; round < length; ++round) {
    std::vector<Datum> values = context.inputs;
    for (size_t i = 0; i < own; ++i) {
      if (!values[i].is_sequence()) continue;
      const auto& items = context.inputs[i].items();
      if (items.size() != length) {
        fail(ErrorCode::invalid_input, "input {} has {} items, input 0 has {}", i, items.size(), length);
      }
      values[i] = items[round];
    }
    const std::vector<Datum> outputs = body.evaluate(std::move(values), context.limits);
    for (size_t i = 0; i < results.size(); ++i) results[i].push_back(outputs[i].tensor());
  }
  for (size_t i = 0; i < results.size(); ++i) context.outputs[i] = Datum::sequence(std::move(results[i]));
}

}  // namespace

const OpDef& sequence_map_op() {
  static const OpDef def{.name = "SequenceMap",
                         .min_inputs = 1,
                         .max_inputs = kVariadic,
                         .max_outputs = kVariadic,
                         .attributes = {{"body", AttributeKind::graph, true}, {"num_captures", AttributeKind::integer}},
                         .since = 17,
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
