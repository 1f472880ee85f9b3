// A graph over the parts of tensors along an axis, with states that go from part to part.
//
// Inputs: N states, num_scan_inputs tensors, num_captures captured values. The body takes states, one part of each
// tensor and captured values; it gives states and K parts. Outputs: last states, the parts stacked.
#include <algorithm>

#include "op/sequences.h"
#include "op/subgraph.h"

namespace lathe::op {
namespace {

struct Layout {
  Layout(const Attributes& attributes, size_t inputs, size_t outputs) : body(attributes.get_graph("body")) {
    const int64_t given = attributes.get_int("num_captures", 0);
    const int64_t scans = attributes.get_int("num_scan_inputs", 0);
    if (given < 0 || scans < 1 || size_t(given) > inputs || size_t(scans) > inputs - size_t(given)) {
      fail(ErrorCode::invalid_input, "{} scan inputs and {} captures of {} inputs", scans, given, inputs);
    }
    scanned = size_t(scans);
    states = inputs - size_t(given) - scanned;
    const size_t results = body.output_types().size();
    if (body.input_types().size() != inputs || results != outputs || outputs < states) {
      fail(ErrorCode::invalid_input, "{} inputs and {} outputs, but {} and {} of the body", inputs, outputs,
           body.input_types().size(), results);
    }
  }

  const Subgraph& body;
  size_t states;
  size_t scanned;
};

int64_t entry(const Attributes& attributes, std::string_view name, size_t i) {
  const auto list = attributes.find_ints(name);
  return list && i < list->size() ? (*list)[i] : 0;
}

void infer(InferContext& context) {
  const Layout layout(context.attributes, context.inputs.size(), context.outputs.size());
  const auto inputs = layout.body.input_types();
  const auto results = layout.body.output_types();
  const TypeInfo& first = context.input(layout.states);
  std::optional<tensor::Dim> length;
  if (first.is_plain()) {
    length = first.shape[axis_index(context, entry(context.attributes, "scan_input_axes", 0), first.shape.size())];
  }
  for (size_t i = 0; i < context.outputs.size(); ++i) {
    if (i < layout.states) {
      context.outputs[i] = seen_outside(context, inputs[i], i);
      continue;
    }
    TypeInfo stack = results[i];
    if (stack.is_plain()) {
      const size_t rank = stack.shape.size() + 1;
      const size_t axis = axis_index(context, entry(context.attributes, "scan_output_axes", i - layout.states), rank);
      stack.shape.insert(stack.shape.begin() + std::ptrdiff_t(axis),
                         length.value_or(tensor::Dim::symbol("rounds of " + context.unique_name)));
    }
    context.outputs[i] = seen_outside(context, stack, i);
  }
}

// The length of the axis that all scan inputs share.
int64_t common_length(const DataContext& context, const Layout& layout) {
  std::optional<int64_t> length;
  for (size_t i = 0; i < layout.scanned; ++i) {
    const tensor::Tensor& input = context.inputs[layout.states + i].tensor();
    const int64_t rank = input.rank();
    const int64_t axis = entry(context.attributes, "scan_input_axes", i);
    if (axis < -rank || axis >= rank) fail(ErrorCode::invalid_input, "axis {} of rank {}", axis, rank);
    const int64_t found = input.dims()[size_t(axis < 0 ? axis + rank : axis)];
    if (length.value_or(found) != found) {
      fail(ErrorCode::invalid_input, "scan input {} has {} parts, the first has {}", i, found, *length);
    }
    length = found;
  }
  return *length;
}

void evaluate(DataContext& context) {
  const Layout layout(context.attributes, context.inputs.size(), context.outputs.size());
  const int64_t length = common_length(context, layout);
  std::vector<Datum> values = context.inputs;
  std::vector<std::vector<tensor::Tensor>> stacks(context.outputs.size() - layout.states);
  for (int64_t round = 0; round < length; ++round) {
    for (size_t i = 0; i < layout.scanned; ++i) {
      const bool backward = entry(context.attributes, "scan_input_directions", i) != 0;
      values[layout.states + i] =
          part_at(context.inputs[layout.states + i].tensor(), entry(context.attributes, "scan_input_axes", i),
                  backward ? length - 1 - round : round);
    }
    std::vector<Datum> results = layout.body.evaluate(values, context.limits);
    for (size_t i = 0; i < layout.states; ++i) values[i] = std::move(results[i]);
    for (size_t i = 0; i < stacks.size(); ++i) stacks[i].push_back(results[layout.states + i].tensor());
  }
  const auto results = layout.body.output_types();
  for (size_t i = 0; i < layout.states; ++i) context.outputs[i] = std::move(values[i]);
  for (size_t i = 0; i < stacks.size(); ++i) {
    if (entry(context.attributes, "scan_output_directions", i) != 0) std::reverse(stacks[i].begin(), stacks[i].end());
    const int64_t axis = entry(context.attributes, "scan_output_axes", i);
    context.outputs[layout.states + i] =
        stacks[i].empty() ? stacked_nothing(results[layout.states + i], axis) : stacked(std::move(stacks[i]), axis);
  }
}

}  // namespace

const OpDef& scan_op() {
  static const OpDef def{.name = "Scan",
                         .min_inputs = 1,
                         .max_inputs = kVariadic,
                         .max_outputs = kVariadic,
                         .attributes = {{"body", AttributeKind::graph, true},
                                        {"num_captures", AttributeKind::integer},
                                        {"num_scan_inputs", AttributeKind::integer, true},
                                        {"scan_input_axes", AttributeKind::integers},
                                        {"scan_input_directions", AttributeKind::integers},
                                        {"scan_output_axes", AttributeKind::integers},
                                        {"scan_output_directions", AttributeKind::integers}},
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
