// Attributes of instructions as JSON: {"epsilon": {"float": 1e-5}}.
#pragma once

#include <functional>

#include "base/json.h"
#include "op/attributes.h"

namespace lathe::plan {

// The tag tells 1 from 1.0 and one empty list from another. Tensors are {"tensor": {"dtype", "dims", "data": its
// bytes}}
// ("strings" for texts), graphs {"body": a number}. An absent function refuses them.
struct AttributeForms {
  bool tensors = false;
  std::function<int64_t(const op::SubgraphPtr&)> number_of_body = {};
  std::function<op::SubgraphPtr(int64_t)> body = {};
};

// Throws internal for an attribute of a kind that `forms` refuses.
Json attributes_json(const op::Attributes& attributes, const AttributeForms& forms);
// Throws invalid_input naming the attribute.
op::Attributes read_attributes(const Json& json, const AttributeForms& forms);

// A tensor as above.
Json tensor_json(const tensor::Tensor& tensor);
tensor::Tensor read_tensor(const Json& json);
// Throws invalid_input for a boolean that is neither 0 nor 1: code that reads it as one may do anything.
void check_booleans(const tensor::Tensor& tensor);

}  // namespace lathe::plan
