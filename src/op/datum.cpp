#include "op/datum.h"

#include "base/error.h"

namespace lathe::op {

Datum Datum::sequence(std::vector<tensor::Tensor> items) {
  Datum datum;
  datum.items_ = std::make_shared<const std::vector<tensor::Tensor>>(std::move(items));
  return datum;
}

const tensor::Tensor& Datum::tensor() const {
  if (!is_tensor())
    fail(ErrorCode::invalid_input, "expected a tensor, found {}", is_sequence() ? "a sequence" : "nothing");
  return tensor_;
}

const std::vector<tensor::Tensor>& Datum::items() const {
  if (!is_sequence())
    fail(ErrorCode::invalid_input, "expected a sequence, found {}", is_tensor() ? "a tensor" : "nothing");
  return *items_;
}

}  // namespace lathe::op
