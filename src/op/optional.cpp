// Something that may be there: the input, or without one nothing of the given type.
#include "op/sequences.h"

namespace lathe::op {
namespace {

// `type` as to_string(TypeInfo) writes it: "f32[...]", "sequence(f32)".
TypeInfo read_type(const InferContext& context, std::string_view text) {
  constexpr std::string_view kSequence = "sequence(";
  const bool sequence = text.starts_with(kSequence);
  if (sequence) text.remove_prefix(kSequence.size());
  const auto dtype = tensor::find_dtype(text.substr(0, text.find_first_of("[)")));
  if (!dtype) bad(context, "type \"{}\"", context.attributes.get_string("type", ""));
  TypeInfo type = TypeInfo::sequence(*dtype);
  type.form = sequence ? Form::optional_sequence : Form::optional_tensor;
  return type;
}

void infer(InferContext& context) {
  if (!context.has_input(0)) {
    const auto type = context.attributes.find_string("type");
    if (!type) bad(context, "neither an input nor a type");
    context.outputs[0] = read_type(context, *type);
    return;
  }
  const TypeInfo& input = context.input(0);
  TypeInfo type = TypeInfo::sequence(input.dtype);
  type.form = input.form == Form::sequence ? Form::optional_sequence : Form::optional_tensor;
  context.outputs[0] = input.form == Form::tensor && input.dtype == tensor::DType::undefined ? input : type;
}

}  // namespace

const OpDef& optional_op() {
  static const OpDef def{.name = "Optional",
                         .min_inputs = 0,
                         .max_inputs = 1,
                         .attributes = {{"type", AttributeKind::string}},
                         .since = 15,
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = [](DataContext& context) {
                           if (!context.inputs.empty()) context.outputs[0] = context.inputs[0];
                         }};
  return def;
}

}  // namespace lathe::op
