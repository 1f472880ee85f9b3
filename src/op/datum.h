// A value at run time: a tensor, a sequence of tensors, or nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace lathe::op {

// Nothing is an omitted input or an empty optional. An optional that holds something is that thing.
class Datum {
 public:
  Datum() = default;
  Datum(tensor::Tensor tensor) : tensor_(std::move(tensor)) {}  // not explicit: a tensor is a value
  static Datum sequence(std::vector<tensor::Tensor> items);

  bool defined() const { return is_tensor() || is_sequence(); }
  bool is_tensor() const { return tensor_.defined(); }
  bool is_sequence() const { return items_ != nullptr; }
  // Throw invalid_input when it is something else.
  const tensor::Tensor& tensor() const;
  const std::vector<tensor::Tensor>& items() const;

 private:
  tensor::Tensor tensor_;
  std::shared_ptr<const std::vector<tensor::Tensor>> items_;  // shared by copies; immutable
};

// What ends a run that would not end by itself.
struct RunLimits {
  int64_t max_iterations = int64_t{1} << 32;  // of one Loop
};

}  // namespace lathe::op
