// What the operators of ai.onnx.ml share: tables of features, transforms of scores, labels, look-ups.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "op/attribute_lists.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {

// The dtypes that most of them take: floats and integers.
constexpr DTypeSet kFeatures = kF32 | kF64 | kSigned;

// Input 0 as rows of features: [N, F], or [F] as one row.
struct TableDims {
  tensor::Dim rows;
  tensor::Dim features;
};
TableDims table_dims(const InferContext& context, DTypeSet allowed = kFeatures);
struct Table {
  explicit Table(const tensor::Tensor& x);
  std::span<const double> row(int64_t i) const {
    return std::span(values).subspan(size_t(i * features), size_t(features));
  }
  std::vector<double> values;
  int64_t rows;
  int64_t features;
};

// Throws unless `list`, given under `name`, has `expected` entries.
void require_length(std::string_view op, std::string_view name, size_t found, int64_t expected);
// Throws unless input 0 is known to have other than `count / of` features, or count is no multiple of `of`.
void require_features(const InferContext& context, std::string_view name, size_t count, int64_t of);

enum class PostTransform { none, softmax, logistic, softmax_zero, probit };
// The attribute post_transform, a name.
PostTransform post_transform(std::string_view op, const Attributes& attributes);
// On all scores of one row.
void transform_scores(PostTransform transform, std::span<double> scores);
// A binary classifier's one score s (positive: the second class), as two: after LOGISTIC both probabilities, else s
// and `rest`, what the other class has of it. PROBIT has no such form: unsupported.
std::vector<double> pair_of_scores(std::string_view op, PostTransform transform, double score, double rest);
double logistic(double x);

// Names of classes: one of two attributes, integers or texts.
class Labels {
 public:
  Labels(std::string_view op, const Attributes& attributes, std::string_view ints, std::string_view strings);
  int64_t size() const { return names_.size(); }
  tensor::DType dtype() const { return names_.dtype(); }
  // [rows], the names of these classes.
  tensor::Tensor pick(const std::vector<int64_t>& classes) const;

 private:
  tensor::Tensor names_;
};
// The first of the largest.
int64_t arg_max(std::span<const double> scores);

// A one-dimensional tensor of an attribute's list; undefined if it is not there. Reals become f32, as ONNX keeps them.
tensor::Tensor list_tensor(const Attributes& attributes, std::string_view name);
// For each element of x its position among the keys (the last one, if a key is there twice), -1 if it is none.
// Both have one dtype, a number or a text; NaN is a key like others.
std::vector<int64_t> find_keys(const tensor::Tensor& x, const tensor::Tensor& keys);
// values[position], or the element of `otherwise` where the position is -1.
tensor::Tensor take_or(const tensor::Tensor& values, const tensor::Tensor& otherwise,
                       const std::vector<int64_t>& positions, tensor::Dims dims);

}  // namespace lathe::op
