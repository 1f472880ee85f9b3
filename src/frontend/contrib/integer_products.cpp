#include "frontend/contrib/integer_products.h"

#include "base/error.h"

namespace lathe::frontend {
namespace {

void require_one(const ContribNode& n, size_t i) {
  if (n.has(i) && !(tensor::element_count(n.shape(i)) == tensor::Dim(1))) {
    n.refuse_input(i, "one for each row has no expansion");
  }
}

}  // namespace

Value integer_product(const Builder& b, Value a, Value a_zero, Value w, Value w_zero) {
  std::vector<Value> inputs = {a, w};
  if (a_zero || w_zero) inputs.push_back(a_zero);
  if (w_zero) inputs.push_back(w_zero);
  return b.node("MatMulInteger", inputs);
}

Value integer_product(const ContribNode& n, const QuantizedInput& a, const QuantizedInput& w) {
  const Builder& b = n.b;
  require_one(n, a.scale);
  require_one(n, a.zero);
  const Value sums = integer_product(b, n.in(a.values), n.in(a.zero), n.in(w.values), n.in(w.zero));
  return b.mul(b.cast(sums, n.dtype(w.scale)), b.mul(n.in(a.scale), n.in(w.scale)));
}

}  // namespace lathe::frontend
