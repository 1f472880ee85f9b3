#include "frontend/contrib/quantized_values.h"

namespace lathe::frontend {
namespace {

// One scale and zero point for the whole tensor.
void require_one(const ContribNode& n, size_t i) {
  if (n.has(i) && !(tensor::element_count(n.shape(i)) == tensor::Dim(1))) {
    n.refuse_input(i, "one for each channel has no expansion");
  }
}

}  // namespace

Value dequantized(const ContribNode& n, size_t i) {
  require_one(n, i + 1);
  require_one(n, i + 2);
  std::vector<Value> inputs = {n.in(i), n.in(i + 1)};
  if (n.has(i + 2)) inputs.push_back(n.in(i + 2));
  return n.b.node("DequantizeLinear", inputs);
}

Value quantized(const ContribNode& n, Value x, size_t i, tensor::DType dtype) {
  require_one(n, i);
  require_one(n, i + 1);
  if (n.has(i + 1)) return n.b.node("QuantizeLinear", {x, n.in(i), n.in(i + 1)});
  return n.b.node("QuantizeLinear", {x, n.in(i)}, {{"output_dtype", int64_t(dtype)}});
}

}  // namespace lathe::frontend
