// A weighted sum of kernels between a row and the support vectors; of one class, whether that is positive.
#include "op/ml.h"
#include "op/svm.h"

namespace lathe::op {
namespace {

constexpr std::string_view kOp = "SVMRegressor";

void infer_svm_regressor(InferContext& context) {
  const tensor::Dim rows = table_dims(context).rows;
  const Attributes& attributes = context.attributes;
  const int64_t supports = attributes.get_int("n_supports", 0);
  const size_t coefficients = get_list<double>(attributes, "coefficients").size();
  if (supports < 0) bad(context, "n_supports is {}", supports);
  SvmKernel(kOp, attributes);
  post_transform(kOp, attributes);
  require_length(kOp, "rho", get_list<double>(attributes, "rho").size(), 1);
  if (supports == 0) {
    require_features(context, "coefficients", coefficients, 1);
  } else {
    require_length(kOp, "coefficients", coefficients, supports);
    require_features(context, "support_vectors", get_list<double>(attributes, "support_vectors").size(), supports);
  }
  context.outputs[0] = {tensor::DType::f32, {rows, tensor::Dim(1)}, std::nullopt};
}

void evaluate_svm_regressor(EvaluateContext& context) {
  const Attributes& attributes = context.attributes;
  const Table x(context.inputs[0]);
  const SvmKernel kernel(kOp, attributes);
  const PostTransform transform = post_transform(kOp, attributes);
  const auto& coefficients = get_list<double>(attributes, "coefficients");
  const std::span<const double> vectors = get_list<double>(attributes, "support_vectors");  // [supports, F]
  const size_t supports = size_t(attributes.get_int("n_supports", 0));
  const size_t features = size_t(x.features);
  std::vector<double> scores;
  for (int64_t i = 0; i < x.rows; ++i) {
    double score = get_list<double>(attributes, "rho")[0];
    // Without support vectors the coefficients are those of a plane.
    if (supports == 0) score += kernel(x.row(i), coefficients);
    for (size_t s = 0; s < supports; ++s) {
      score += coefficients[s] * kernel(x.row(i), vectors.subspan(s * features, features));
    }
    if (attributes.get_int("one_class", 0) != 0)
      score = score > 0 ? 1 : -1;
    else
      transform_scores(transform, std::span(&score, 1));
    scores.push_back(score);
  }
  context.outputs[0] = store(tensor::DType::f32, {x.rows, 1}, scores);
}

}  // namespace

const OpDef& ai_onnx_ml_svm_regressor_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.SVMRegressor",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"coefficients", AttributeKind::reals},
                     {"kernel_params", AttributeKind::reals},
                     {"kernel_type", AttributeKind::string},
                     {"n_supports", AttributeKind::integer},
                     {"one_class", AttributeKind::integer},
                     {"post_transform", AttributeKind::string},
                     {"rho", AttributeKind::reals},
                     {"support_vectors", AttributeKind::reals}},
      .infer = infer_svm_regressor,
      .evaluate = evaluate_svm_regressor,
  };
  return def;
}

}  // namespace lathe::op
