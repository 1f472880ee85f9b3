#include "op/rounded.h"

#include "base/numbers.h"

namespace lathe::op {

void check_rounding(const InferContext& context, std::string_view attribute) {
  const std::string type = context.attributes.get_string(attribute, "f32");
  if (type != "f32" && type != "bf16" && type != "f16") bad(context, "{} \"{}\"", attribute, type);
}

tensor::Tensor rounded_to(std::string_view type, const tensor::Tensor& tensor) {
  if (type == "f32" || tensor.dtype() != tensor::DType::f32) return tensor;
  tensor::Tensor result(tensor.dtype(), tensor.dims());
  const auto from = tensor.data<float>();
  const auto to = result.data<float>();
  for (size_t i = 0; i < from.size(); ++i) {
    to[i] = type == "bf16" ? bf16_to_f32(f32_to_bf16(from[i])) : f16_to_f32(f32_to_f16(from[i]));
  }
  return result;
}

}  // namespace lathe::op
