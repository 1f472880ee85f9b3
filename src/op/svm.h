// Kernels of support vector machines.
#pragma once

#include <span>
#include <string_view>

#include "op/attributes.h"

namespace lathe::op {

class SvmKernel {
 public:
  // From kernel_type and kernel_params (gamma, coef0, degree).
  SvmKernel(std::string_view op, const Attributes& attributes);
  // Of two rows of one length.
  double operator()(std::span<const double> a, std::span<const double> b) const;

 private:
  enum class Kind { linear, poly, rbf, sigmoid };
  Kind kind_;
  double gamma_ = 0;
  double coef0_ = 0;
  double degree_ = 0;
};

}  // namespace lathe::op
