// The tensor that exactly one attribute gives. (Sparse values are made dense by the importer.)
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

tensor::Tensor constant_value(const Attributes& attributes) {
  using tensor::DType;
  using tensor::Tensor;
  if (attributes.size() != 1) {
    fail(ErrorCode::invalid_input, "Constant: expected one attribute, found {}", attributes.size());
  }
  const auto& [name, value] = *attributes.begin();
  if (const auto* tensor = std::get_if<Tensor>(&value)) return *tensor;
  if (const auto* number = std::get_if<int64_t>(&value)) {
    return name == "value_float" ? Tensor::scalar(float(*number)) : Tensor::scalar(*number);
  }
  if (const auto* number = std::get_if<double>(&value)) return Tensor::scalar(float(*number));
  if (const auto* text = std::get_if<std::string>(&value)) return Tensor::of_strings({}, {*text});
  if (const auto* texts = std::get_if<std::vector<std::string>>(&value)) {
    return Tensor::of_strings({int64_t(texts->size())}, *texts);
  }
  if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
    return store(DType::f32, {int64_t(numbers->size())}, *numbers);
  }
  const auto& numbers = std::get<std::vector<int64_t>>(value);
  return store(DType::i64, {int64_t(numbers.size())}, numbers);
}

void infer_constant(InferContext& context) {
  const tensor::Tensor value = constant_value(context.attributes);
  TypeInfo& out = context.outputs[0];
  out = {value.dtype(), tensor::to_shape(value.dims()), std::nullopt};
  if (!(set_of(value.dtype()) & (kInteger | kBool)) || value.size() > kMaxElements) return;
  const std::vector<int64_t> numbers = load<int64_t>(value);
  set_elements(out, std::vector<tensor::Dim>(numbers.begin(), numbers.end()));
}

}  // namespace

const OpDef& constant_op() {
  static const OpDef def{
      .name = "Constant",
      .attributes = {{"value", AttributeKind::tensor},
                     {"value_float", AttributeKind::real},
                     {"value_floats", AttributeKind::reals},
                     {"value_int", AttributeKind::integer},
                     {"value_ints", AttributeKind::integers},
                     {"value_string", AttributeKind::string},
                     {"value_strings", AttributeKind::strings}},
      .infer = infer_constant,
      .evaluate = [](EvaluateContext& context) { context.outputs[0] = constant_value(context.attributes); },
  };
  return def;
}

}  // namespace lathe::op
