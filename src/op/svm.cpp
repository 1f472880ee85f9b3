#include "op/svm.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "op/ml.h"

namespace lathe::op {

SvmKernel::SvmKernel(std::string_view op, const Attributes& attributes) {
  const std::string name = attributes.get_string("kernel_type", "LINEAR");
  constexpr std::string_view kNames[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
  const auto it = std::find(std::begin(kNames), std::end(kNames), name);
  if (it == std::end(kNames)) fail(ErrorCode::invalid_input, "{}: unknown kernel_type \"{}\"", op, name);
  kind_ = Kind(it - std::begin(kNames));
  const auto& params = get_list<double>(attributes, "kernel_params");
  if (params.empty() && kind_ == Kind::linear) return;
  require_length(op, "kernel_params", params.size(), 3);
  gamma_ = params[0];
  coef0_ = params[1];
  degree_ = params[2];
}

double SvmKernel::operator()(std::span<const double> a, std::span<const double> b) const {
  if (kind_ == Kind::rbf) {
    double distance = 0;
    for (size_t i = 0; i < a.size(); ++i) distance += (a[i] - b[i]) * (a[i] - b[i]);
    return std::exp(-gamma_ * distance);
  }
  const double product = std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  if (kind_ == Kind::poly) return std::pow(gamma_ * product + coef0_, degree_);
  if (kind_ == Kind::sigmoid) return std::tanh(gamma_ * product + coef0_);
  return product;
}

}  // namespace lathe::op
