// Support vector machines that decide between each pair of classes: the class of each row by their votes, and their
// decisions or, with prob_a and prob_b, probabilities. Without support vectors one plane for each class.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "op/ml.h"
#include "op/svm.h"

namespace lathe::op {
namespace {

constexpr std::string_view kOp = "SVMClassifier";
using Matrix = std::vector<std::vector<double>>;

struct Classifier {
  Labels labels;
  SvmKernel kernel;
  PostTransform transform;
  std::vector<size_t> begins;            // of each class's support vectors, and the end; empty: planes
  std::span<const double> coefficients;  // [classes - 1, supports], or [classes, F]
  std::span<const double> vectors;       // [supports, F]
  std::span<const double> rho;           // for each pair of classes
  std::span<const double> prob_a;
  std::span<const double> prob_b;
  size_t classes() const { return size_t(labels.size()); }
  size_t pairs() const { return classes() * (classes() - 1) / 2; }
  // Columns of the second output: two classes always have two.
  int64_t scores() const {
    return begins.empty() || !prob_a.empty() || classes() == 2 ? labels.size() : int64_t(pairs());
  }
};

Classifier read_classifier(const Attributes& attributes) {
  Classifier c{.labels = Labels(kOp, attributes, "classlabels_ints", "classlabels_strings"),
               .kernel = SvmKernel(kOp, attributes),
               .transform = post_transform(kOp, attributes),
               .begins = {},
               .coefficients = get_list<double>(attributes, "coefficients"),
               .vectors = get_list<double>(attributes, "support_vectors"),
               .rho = get_list<double>(attributes, "rho"),
               .prob_a = get_list<double>(attributes, "prob_a"),
               .prob_b = get_list<double>(attributes, "prob_b")};
  const auto& counts = get_list<int64_t>(attributes, "vectors_per_class");
  if (counts.empty()) {
    if (c.rho.empty()) fail(ErrorCode::invalid_input, "{}: no rho", kOp);
    return c;
  }
  if (c.classes() < 2) fail(ErrorCode::invalid_input, "{}: {} classes", kOp, c.classes());
  require_length(kOp, "vectors_per_class", counts.size(), c.labels.size());
  c.begins.push_back(0);
  for (const int64_t count : counts) {
    if (count < 0 || count > int64_t(c.vectors.size())) {
      fail(ErrorCode::invalid_input, "{}: {} vectors of a class", kOp, count);
    }
    c.begins.push_back(c.begins.back() + size_t(count));
  }
  const int64_t supports = int64_t(c.begins.back());
  require_length(kOp, "coefficients", c.coefficients.size(), supports * (c.labels.size() - 1));
  require_length(kOp, "rho", c.rho.size(), int64_t(c.pairs()));
  require_length(kOp, "prob_b", c.prob_b.size(), int64_t(c.prob_a.size()));
  if (!c.prob_a.empty()) require_length(kOp, "prob_a", c.prob_a.size(), int64_t(c.pairs()));
  return c;
}

void infer_svm_classifier(InferContext& context) {
  const tensor::Dim rows = table_dims(context).rows;
  const Classifier c = read_classifier(context.attributes);
  if (c.begins.empty())
    require_features(context, "coefficients", c.coefficients.size(), c.labels.size());
  else if (c.begins.back() > 0)
    require_features(context, "support_vectors", c.vectors.size(), int64_t(c.begins.back()));
  context.outputs[0] = {c.labels.dtype(), {rows}, std::nullopt};
  if (context.outputs.size() > 1) context.outputs[1] = {tensor::DType::f32, {rows, c.scores()}, std::nullopt};
}

// For each pair i < j a number that is positive where i is the likelier. The coefficients of a support vector of
// class i against class j lie in row j - 1, those of one of class j against i in row i.
std::vector<double> decide(const Classifier& c, std::span<const double> x) {
  const size_t supports = c.begins.back();
  std::vector<double> kernels;
  for (size_t s = 0; s < supports; ++s) kernels.push_back(c.kernel(x, c.vectors.subspan(s * x.size(), x.size())));
  std::vector<double> decisions;
  for (size_t i = 0; i < c.classes(); ++i) {
    for (size_t j = i + 1; j < c.classes(); ++j) {
      double sum = c.rho[decisions.size()];
      for (size_t s = c.begins[i]; s < c.begins[i + 1]; ++s) sum += c.coefficients[(j - 1) * supports + s] * kernels[s];
      for (size_t s = c.begins[j]; s < c.begins[j + 1]; ++s) sum += c.coefficients[i * supports + s] * kernels[s];
      decisions.push_back(sum);
    }
  }
  return decisions;
}

int64_t count_votes(const std::vector<double>& decisions, size_t classes) {
  std::vector<double> votes(classes, 0);
  size_t pair = 0;
  for (size_t i = 0; i < classes; ++i) {
    for (size_t j = i + 1; j < classes; ++j) ++votes[decisions[pair++] > 0 ? i : j];
  }
  return arg_max(votes);
}

// Probabilities p of all classes from r[i][j], that of i when it is i or j: those that minimise the sum of
// (r[j][i] p[i] - r[i][j] p[j])^2 (Wu, Lin and Weng 2004, their second method). The iteration stops where LIBSVM's
// does, which is coarse but what such models were trained and exported with.
std::vector<double> couple(const Matrix& r) {
  const size_t n = r.size();
  Matrix q(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      if (i == j) continue;
      q[i][i] += r[j][i] * r[j][i];
      q[i][j] = -r[j][i] * r[i][j];
    }
  }
  std::vector<double> p(n, 1 / double(n));
  for (size_t round = 0; round < std::max<size_t>(100, n); ++round) {
    std::vector<double> qp(n);
    for (size_t i = 0; i < n; ++i) qp[i] = std::inner_product(p.begin(), p.end(), q[i].begin(), 0.0);
    double pqp = std::inner_product(p.begin(), p.end(), qp.begin(), 0.0);
    const auto off = [&](double value) { return std::fabs(value - pqp); };
    if (std::all_of(qp.begin(), qp.end(), [&](double value) { return off(value) < 0.005 / double(n); })) break;
    for (size_t i = 0; i < n; ++i) {
      // p[i] takes the step that makes its own condition hold, then all are scaled to the sum 1.
      const double step = (pqp - qp[i]) / q[i][i];
      const double scale = 1 + step;
      p[i] += step;
      pqp = (pqp + step * (step * q[i][i] + 2 * qp[i])) / scale / scale;
      for (size_t j = 0; j < n; ++j) {
        qp[j] = (qp[j] + step * q[i][j]) / scale;
        p[j] /= scale;
      }
    }
  }
  return p;
}

std::vector<double> probabilities(const Classifier& c, const std::vector<double>& decisions) {
  constexpr double kLeast = 1e-7;
  Matrix r(c.classes(), std::vector<double>(c.classes(), 0));
  size_t pair = 0;
  for (size_t i = 0; i < c.classes(); ++i) {
    for (size_t j = i + 1; j < c.classes(); ++j, ++pair) {
      const double p = logistic(-(c.prob_a[pair] * decisions[pair] + c.prob_b[pair]));
      r[i][j] = std::clamp(p, kLeast, 1 - kLeast);
      r[j][i] = 1 - r[i][j];
    }
  }
  return couple(r);
}

// The row's class, its scores appended to `scores`.
int64_t classify(const Classifier& c, std::span<const double> x, std::vector<double>& scores) {
  std::vector<double> row;
  int64_t found = 0;
  if (c.begins.empty()) {
    for (size_t k = 0; k < c.classes(); ++k) {
      row.push_back(c.rho[0] + c.kernel(x, c.coefficients.subspan(k * x.size(), x.size())));
    }
    found = arg_max(row);
    transform_scores(c.transform, row);
  } else {
    row = decide(c, x);
    found = count_votes(row, c.classes());
    if (!c.prob_a.empty()) row = probabilities(c, row);
    // A single decision is written as ONNX Runtime does, although it is in favour of the first class.
    const bool raw = c.transform == PostTransform::none;
    if (row.size() == 1)
      row = pair_of_scores(kOp, c.transform, row[0], raw ? -row[0] : 1 - row[0]);
    else
      transform_scores(c.transform, row);
  }
  scores.insert(scores.end(), row.begin(), row.end());
  return found;
}

void evaluate_svm_classifier(EvaluateContext& context) {
  const Classifier c = read_classifier(context.attributes);
  const Table x(context.inputs[0]);
  std::vector<int64_t> classes;
  std::vector<double> scores;
  for (int64_t i = 0; i < x.rows; ++i) classes.push_back(classify(c, x.row(i), scores));
  context.outputs[0] = c.labels.pick(classes);
  if (context.outputs.size() > 1) context.outputs[1] = store(tensor::DType::f32, {x.rows, c.scores()}, scores);
}

}  // namespace

const OpDef& ai_onnx_ml_svm_classifier_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.SVMClassifier",
      .min_inputs = 1,
      .max_inputs = 1,
      .max_outputs = 2,
      .attributes = {{"classlabels_ints", AttributeKind::integers},
                     {"classlabels_strings", AttributeKind::strings},
                     {"coefficients", AttributeKind::reals},
                     {"kernel_params", AttributeKind::reals},
                     {"kernel_type", AttributeKind::string},
                     {"post_transform", AttributeKind::string},
                     {"prob_a", AttributeKind::reals},
                     {"prob_b", AttributeKind::reals},
                     {"rho", AttributeKind::reals},
                     {"support_vectors", AttributeKind::reals},
                     {"vectors_per_class", AttributeKind::integers}},
      .infer = infer_svm_classifier,
      .evaluate = evaluate_svm_classifier,
  };
  return def;
}

}  // namespace lathe::op
