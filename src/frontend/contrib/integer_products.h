// Products of quantised matrices as floats.
#pragma once

#include "frontend/contrib.h"

namespace lathe::frontend {

// Inputs of a node that make one operand: (values - zero) * scale. An absent zero is 0.
struct QuantizedInput {
  size_t values;
  size_t scale;
  size_t zero;
};

// (A - za)(B - zb) as i32.
Value integer_product(const Builder& b, Value a, Value a_zero, Value w, Value w_zero);
// (A - za)(B - zb) (sa sb), of one sa and za, and one sb and zb or one for each column.
Value integer_product(const ContribNode& n, const QuantizedInput& a, const QuantizedInput& w);

}  // namespace lathe::frontend
