#include "op/quantized_convolution.h"

#include "op/convolution.h"
#include "op/values.h"

namespace lathe::op {

void require_bytes(const InferContext& context, size_t i) {
  const TypeInfo& type = context.input(i);
  if (type.dtype != tensor::DType::i8 && type.dtype != tensor::DType::u8) {
    bad(context, "input {}: expected i8 or u8, found {}", i, to_string(type));
  }
}

void require_single(const InferContext& context, size_t i) {
  if (!context.has_input(i)) return;
  const auto count = tensor::element_count(context.input(i).shape).constant();
  if (context.input(i).shape.size() > 1 || (count && *count != 1)) {
    bad(context, "input {}: expected one element, found {}", i, to_string(context.input(i)));
  }
}

void require_single_or_vector(const InferContext& context, size_t i, const tensor::Dim& length) {
  if (!context.has_input(i) || context.input(i).shape.empty()) return;
  require_rank(context, i, 1);
  const tensor::Dim& found = context.input(i).shape[0];
  if (found != tensor::Dim(1)) require_dims_agree(context, fmt::format("input {}", i), found, length);
}

std::vector<int64_t> load_less_zero(const tensor::Tensor& values, const tensor::Tensor& zero_point) {
  std::vector<int64_t> result = load<int64_t>(values);
  if (!zero_point.defined() || result.empty()) return result;
  const std::vector<int64_t> zeros = load<int64_t>(zero_point);
  const size_t inner = zeros.size() == 1 ? result.size() : result.size() / size_t(values.dims()[0]);
  for (size_t i = 0; i < result.size(); ++i) result[i] -= zeros[i / inner];
  return result;
}

Windows quantized_windows(std::string_view op, const Attributes& attributes, const tensor::Tensor& x,
                          const tensor::Tensor& w) {
  const tensor::Shape kernel = kernel_of(tensor::to_shape(w.dims()));
  return plan_windows(op, attributes, x, &kernel);
}

}  // namespace lathe::op
