// Operators of ai.onnx.ml: what ONNX Runtime does not say or does otherwise, and models that cannot be right.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "op/op.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;
using Ints = std::vector<int64_t>;
using Reals = std::vector<double>;
using Texts = std::vector<std::string>;

std::vector<Tensor> run(const std::string& op, Tensor x, const Attributes& attributes, size_t outputs = 1) {
  return evaluate(get_op("ai.onnx.ml." + op), {std::move(x)}, attributes, outputs);
}

ErrorCode error_of(const std::string& op, Tensor x, const Attributes& attributes) {
  try {
    run(op, std::move(x), attributes);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::usage;
}

Attributes with(Attributes attributes, const std::string& name, AttributeValue value) {
  attributes.set(name, std::move(value));
  return attributes;
}

// One comparison of feature 0 with 0.5 and two leaves.
Attributes stump() {
  return {{"nodes_treeids", Ints{0, 0, 0}},      {"nodes_nodeids", Ints{0, 1, 2}},
          {"nodes_featureids", Ints{0, 0, 0}},   {"nodes_modes", Texts{"BRANCH_LEQ", "LEAF", "LEAF"}},
          {"nodes_values", Reals{0.5, 0, 0}},    {"nodes_truenodeids", Ints{1, 0, 0}},
          {"nodes_falsenodeids", Ints{2, 0, 0}}, {"target_treeids", Ints{0, 0}},
          {"target_nodeids", Ints{1, 2}},        {"target_ids", Ints{0, 0}},
          {"target_weights", Reals{3, 4}},       {"n_targets", int64_t{1}}};
}

TEST(Trees, RefusesWhatIsNoTree) {
  const Tensor x = Tensor::of<float>({2, 1}, {0, 1});
  EXPECT_EQ(load<double>(run("TreeEnsembleRegressor", x, stump())[0]), (Reals{3, 4}));
  const std::vector<std::pair<std::string, AttributeValue>> bad = {
      {"nodes_truenodeids", Ints{7, 0, 0}},   // no such node
      {"nodes_falsenodeids", Ints{1, 0, 0}},  // node 2 is nobody's child: a second root
      {"nodes_nodeids", Ints{0, 1, 1}},       // twice
      {"nodes_featureids", Ints{1, 0, 0}},    // beyond the features
      {"nodes_featureids", Ints{-1, 0, 0}},
      {"nodes_featureids", Ints{0, 0}},
      {"nodes_modes", Texts{"BRANCH_LEQ", "LEAF", "LEAVE"}},
      {"target_ids", Ints{0, 1}},
      {"target_nodeids", Ints{1, 3}},
      {"target_weights", Reals{3}},
      {"n_targets", int64_t{0}},
      {"base_values", Reals{1, 2}},
      {"nodes_values", Reals{0.5}},
      {"aggregate_function", std::string("MEDIAN")},
      {"nodes_values_as_tensor", Tensor::of<double>({3}, {0.5, 0, 0})},  // besides nodes_values
  };
  for (const auto& [name, value] : bad) {
    EXPECT_EQ(error_of("TreeEnsembleRegressor", x, with(stump(), name, value)), ErrorCode::invalid_input) << name;
  }
}

TEST(Trees, ACircleEnds) {
  Attributes tree = {{"tree_roots", Ints{0}},
                     {"n_targets", int64_t{1}},
                     {"nodes_modes", Tensor::of<uint8_t>({2}, {0, 0})},
                     {"nodes_splits", Tensor::of<float>({2}, {0.5F, 0.5F})},
                     {"nodes_featureids", Ints{0, 0}},
                     {"nodes_truenodeids", Ints{1, 0}},
                     {"nodes_falsenodeids", Ints{0, 0}},
                     {"nodes_trueleafs", Ints{0, 0}},
                     {"nodes_falseleafs", Ints{1, 1}},
                     {"leaf_targetids", Ints{0}},
                     {"leaf_weights", Tensor::of<float>({1}, {2})}};
  EXPECT_EQ(load<double>(run("TreeEnsemble", Tensor::of<float>({1, 1}, {1}), tree)[0]), Reals{2});
  EXPECT_EQ(error_of("TreeEnsemble", Tensor::of<float>({1, 1}, {0}), tree), ErrorCode::invalid_input);
  const Tensor x = Tensor::of<float>({1, 1}, {1});
  const std::vector<std::pair<std::string, AttributeValue>> bad = {
      {"tree_roots", Ints{2}},
      {"nodes_falsenodeids", Ints{1, 0}},
      {"nodes_truenodeids", Ints{-1, 0}},
      {"nodes_modes", Tensor::of<uint8_t>({2}, {0, 7})},
      {"nodes_modes", Tensor::of<uint8_t>({2}, {0, 6})},  // no members
      {"leaf_targetids", Ints{1}},
      {"nodes_featureids", Ints{0, INT64_MAX}},
      {"nodes_splits", Tensor::of_strings({2}, {"a", "b"})},
      {"post_transform", int64_t{5}},
  };
  for (const auto& [name, value] : bad) {
    EXPECT_EQ(error_of("TreeEnsemble", x, with(tree, name, value)), ErrorCode::invalid_input) << name;
  }
}

TEST(Linear, OneTargetIsTransformedToo) {
  const Attributes model = {{"coefficients", Reals{2}}, {"post_transform", std::string("LOGISTIC")}};
  const Tensor y = run("LinearRegressor", Tensor::of<float>({1, 1}, {1.5F}), model)[0];
  EXPECT_NEAR(load<double>(y)[0], 1 / (1 + std::exp(-3.0)), 1e-7);
}

TEST(Linear, Refusals) {
  const Tensor x = Tensor::of<float>({1, 2}, {1, 2});
  const Attributes model = {{"coefficients", Reals{1, 2}}, {"classlabels_ints", Ints{4, 5}}};
  EXPECT_EQ(load<int64_t>(run("LinearClassifier", x, model)[0]), Ints{5});
  EXPECT_EQ(error_of("LinearClassifier", x, with(model, "coefficients", Reals{1, 2, 3})), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("LinearClassifier", x, with(model, "classlabels_strings", Texts{"a", "b"})),
            ErrorCode::invalid_input);
  EXPECT_EQ(error_of("LinearClassifier", x, with(model, "classlabels_ints", Ints{})), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("LinearClassifier", x, with(model, "post_transform", std::string("PROBIT"))),
            ErrorCode::unsupported);
  EXPECT_EQ(error_of("LinearRegressor", x, {{"coefficients", Reals{1}}}), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("LinearRegressor", x, {{"coefficients", Reals{1, 2}}, {"targets", int64_t{0}}}),
            ErrorCode::invalid_input);
  const Attributes svm = {{"classlabels_ints", Ints{4, 5}},
                          {"coefficients", Reals{1, 2}},
                          {"vectors_per_class", Ints{1, 1}},
                          {"support_vectors", Reals{1, 2, 3, 4}},
                          {"rho", Reals{0.5}}};
  EXPECT_EQ(run("SVMClassifier", x, svm, 2)[1].dims(), (tensor::Dims{1, 2}));
  EXPECT_EQ(error_of("SVMClassifier", x, with(svm, "vectors_per_class", Ints{1, INT64_MAX})), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("SVMClassifier", x, with(svm, "vectors_per_class", Ints{-1, 3})), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("SVMClassifier", x, with(svm, "support_vectors", Reals{1, 2, 3})), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("SVMClassifier", x, with(svm, "rho", Reals{})), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("SVMClassifier", x, with(svm, "prob_a", Reals{1})), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("SVMClassifier", x, with(svm, "kernel_type", std::string("RBF"))), ErrorCode::invalid_input);
}

TEST(Features, MissingValuesAndCategories) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = store(DType::f64, {2, 2}, Reals{nan, 1, 2, nan});
  const Attributes fill = {{"imputed_value_floats", Reals{7, 8}}, {"replaced_value_float", nan}};
  EXPECT_EQ(load<double>(run("Imputer", x, fill)[0]), (Reals{7, 1, 2, 8}));
  EXPECT_EQ(error_of("Imputer", x, with(fill, "imputed_value_floats", Reals{1, 2, 3})), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("Imputer", Tensor::of<int32_t>({1}, {0}), {{"imputed_value_int64s", Ints{int64_t{1} << 31}}}),
            ErrorCode::invalid_input);
  const Attributes cats = {{"cats_int64s", Ints{0, 1}}, {"zeros", int64_t{0}}};
  EXPECT_EQ(load<double>(run("OneHotEncoder", Tensor::of<float>({1}, {1.9F}), cats)[0]), (Reals{0, 1}));
  EXPECT_EQ(error_of("OneHotEncoder", Tensor::of<float>({1}, {2}), cats), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("OneHotEncoder", store(DType::f32, {1}, Reals{nan}), cats), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("Scaler", x, {{"offset", Reals{1, 2, 3}}}), ErrorCode::invalid_input);
  const Attributes keys = {{"keys_int64s", Ints{1, 1}}, {"values_strings", Texts{"a", "b"}}};
  EXPECT_EQ(run("LabelEncoder", Tensor::of<int64_t>({1}, {1}), keys)[0].strings(), Texts{"b"});  // the last one
  EXPECT_EQ(error_of("LabelEncoder", x, keys), ErrorCode::invalid_input);
  EXPECT_EQ(error_of("LabelEncoder", Tensor::of<int64_t>({1}, {1}), with(keys, "keys_floats", Reals{1})),
            ErrorCode::invalid_input);
}

}  // namespace
}  // namespace lathe::op
