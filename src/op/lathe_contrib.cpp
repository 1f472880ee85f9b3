// lathe.Contrib: an operator of somebody else's domain, by its name, with what it means as a graph. Made when a file is
// to hold it; the ONNX writer writes the operator and leaves the meaning out.
//
// Inputs are the operator's, absent ones too; the meaning takes those that are there. Attributes besides the four below
// are the operator's own.
#include <algorithm>
#include <map>
#include <string>

#include "op/inference.h"
#include "op/subgraph.h"

namespace lathe::op {
namespace {

using Lengths = std::map<std::string, int64_t, std::less<>>;

// Lengths that the meaning leaves open and an input gives.
void bind(Lengths& lengths, const TypeInfo& open, const TypeInfo& given) {
  for (size_t axis = 0; axis < std::min(open.shape.size(), given.shape.size()); ++axis) {
    const auto symbols = open.shape[axis].symbols();
    const bool alone = symbols.size() == 1 && open.shape[axis] == tensor::Dim::symbol(*symbols.begin());
    if (alone && given.shape[axis].is_constant()) lengths.emplace(*symbols.begin(), given.shape[axis].value());
  }
}

void infer(InferContext& context) {
  const Subgraph& meaning = context.attributes.get_graph("meaning");
  const std::vector<TypeInfo> inputs = meaning.input_types();
  std::vector<TypeInfo> results = meaning.output_types();
  std::vector<const TypeInfo*> given;
  std::copy_if(context.inputs.begin(), context.inputs.end(), std::back_inserter(given),
               [](const TypeInfo* input) { return input != nullptr; });
  if (inputs.size() != given.size() || results.size() != context.outputs.size()) {
    bad(context, "{} inputs and {} outputs, but {} and {} of the meaning", given.size(), context.outputs.size(),
        inputs.size(), results.size());
  }
  Lengths lengths;
  for (size_t i = 0; i < given.size(); ++i) bind(lengths, inputs[i], *given[i]);
  for (size_t i = 0; i < results.size(); ++i) {
    for (tensor::Dim& dim : results[i].shape) dim = dim.bind(lengths);
    context.outputs[i] = seen_outside(context, results[i], i);
  }
}

void evaluate(DataContext& context) {
  std::vector<Datum> given;
  std::copy_if(context.inputs.begin(), context.inputs.end(), std::back_inserter(given),
               [](const Datum& input) { return input.defined(); });
  context.outputs = context.attributes.get_graph("meaning").evaluate(std::move(given), context.limits);
}

}  // namespace

const OpDef& lathe_contrib_op() {
  using Kind = AttributeKind;
  static const OpDef def{.name = "lathe.Contrib",
                         .min_inputs = 1,
                         .max_inputs = kVariadic,
                         .max_outputs = kVariadic,
                         .attributes = {{"domain", Kind::string, true},
                                        {"meaning", Kind::graph, true},
                                        {"operator", Kind::string, true},
                                        {"outputs", Kind::integers},  // which of the operator's these are; all
                                        {"activation", Kind::string},
                                        {"activation_params", Kind::reals},
                                        {"alpha", Kind::real},
                                        {"auto_pad", Kind::string},
                                        {"axis", Kind::integer},
                                        {"dilations", Kind::integers},
                                        {"epsilon", Kind::real},
                                        {"group", Kind::integer},
                                        {"interleaved", Kind::integer},
                                        {"kernel_shape", Kind::integers},
                                        {"mask_filter_value", Kind::real},
                                        {"num_heads", Kind::integer},
                                        {"pads", Kind::integers},
                                        {"rotary_embedding_dim", Kind::integer},
                                        {"scale", Kind::real},
                                        {"strides", Kind::integers},
                                        {"transA", Kind::integer},
                                        {"transB", Kind::integer},
                                        {"unidirectional", Kind::integer}},
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
