// Of overlapping boxes the one with the best score: for each batch and class, in descending order of score, boxes
// whose overlap (intersection over union) with every box kept so far is at most the threshold.
//
// boxes [batch, boxes, 4], scores [batch, classes, boxes], max_output_boxes_per_class? (default 0), iou_threshold?
// (default 0), score_threshold? (default none). Output [selected, 3]: batch, class and box.
#include <algorithm>
#include <cmath>
#include <limits>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;

enum Input : size_t { kBoxes, kScores, kMost, kOverlap, kScore };

void infer_non_max_suppression(InferContext& context) {
  for (const size_t i : {kBoxes, kScores}) {
    require_dtype(context, i, DType::f32);
    require_rank(context, i, 3);
  }
  const tensor::Shape& boxes = context.input(kBoxes).shape;
  const tensor::Shape& scores = context.input(kScores).shape;
  require_dims_agree(context, "batch of boxes and scores", boxes[0], scores[0]);
  require_dims_agree(context, "number of boxes and of scores", boxes[1], scores[2]);
  require_dims_agree(context, "numbers of a box", boxes[2], Dim(4));
  for (const size_t i : {kMost, kOverlap, kScore}) {
    if (!context.has_input(i)) continue;
    require_dtype(context, i, i == kMost ? DType::i64 : DType::f32);
    const auto count = tensor::element_count(context.input(i).shape).constant();
    if (count && *count != 1) bad(context, "input {}: expected a scalar, found {}", i, to_string(context.input(i)));
  }
  const int64_t form = context.attributes.get_int("center_point_box", 0);
  if (form != 0 && form != 1) bad(context, "center_point_box is {}", form);
  context.outputs[0] = {DType::i64, {unknown_dim(context, 0), Dim(3)}, std::nullopt};
}

struct Box {
  double low[2];
  double high[2];
  double area() const { return (high[0] - low[0]) * (high[1] - low[1]); }
};

// From two opposite corners (y, x, y, x), or from the centre and the size (x, y, width, height).
Box read_box(const double* numbers, bool centred) {
  Box box;
  for (int i = 0; i < 2; ++i) {
    const double a = numbers[i], b = numbers[i + 2];
    box.low[i] = centred ? a - b / 2 : std::min(a, b);
    box.high[i] = centred ? a + b / 2 : std::max(a, b);
  }
  return box;
}

double overlap(const Box& a, const Box& b) {
  double intersection = 1;
  for (int i = 0; i < 2; ++i) {
    const double length = std::min(a.high[i], b.high[i]) - std::max(a.low[i], b.low[i]);
    if (!(length > 0)) return 0;
    intersection *= length;
  }
  return intersection / (a.area() + b.area() - intersection);
}

// Indices of the boxes that stay.
std::vector<int64_t> select(const std::vector<Box>& boxes, const double* scores, int64_t most, double most_overlap,
                            double least_score) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < boxes.size(); ++i) {
    if (scores[i] >= least_score) order.push_back(int64_t(i));  // a NaN is no score
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  std::vector<int64_t> kept;
  for (const int64_t candidate : order) {
    if (int64_t(kept.size()) >= most) break;
    const bool hidden = std::any_of(kept.begin(), kept.end(), [&](int64_t i) {
      return overlap(boxes[size_t(candidate)], boxes[size_t(i)]) > most_overlap;
    });
    if (!hidden) kept.push_back(candidate);
  }
  return kept;
}

void evaluate_non_max_suppression(EvaluateContext& context) {
  const bool centred = context.attributes.get_int("center_point_box", 0) != 0;
  const std::vector<double> numbers = load<double>(context.inputs[kBoxes]);
  const std::vector<double> scores = load<double>(context.inputs[kScores]);
  const int64_t batch = context.inputs[kScores].dims()[0];
  const int64_t classes = context.inputs[kScores].dims()[1];
  const int64_t count = context.inputs[kScores].dims()[2];
  const int64_t most = context.has_input(kMost) ? load_int(context.inputs[kMost]) : 0;
  const double most_overlap = context.has_input(kOverlap) ? load_double(context.inputs[kOverlap]) : 0;
  const double least_score =
      context.has_input(kScore) ? load_double(context.inputs[kScore]) : -std::numeric_limits<double>::infinity();
  std::vector<int64_t> selected;
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<Box> boxes;
    for (int64_t i = 0; i < count; ++i) boxes.push_back(read_box(numbers.data() + (b * count + i) * 4, centred));
    for (int64_t c = 0; c < classes; ++c) {
      const double* of_class = scores.data() + (b * classes + c) * count;
      for (const int64_t i : select(boxes, of_class, most, most_overlap, least_score))
        selected.insert(selected.end(), {b, c, i});
    }
  }
  context.outputs[0] = store(DType::i64, {int64_t(selected.size() / 3), 3}, selected);
}

}  // namespace

const OpDef& non_max_suppression_op() {
  static const OpDef def{
      .name = "NonMaxSuppression",
      .min_inputs = 2,
      .max_inputs = 5,
      .attributes = {{"center_point_box", AttributeKind::integer}},
      .infer = infer_non_max_suppression,
      .evaluate = evaluate_non_max_suppression,
  };
  return def;
}

}  // namespace lathe::op
