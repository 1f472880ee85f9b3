// How Resize reads one axis: its new length and which elements, with which weights, make up each new one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "op/attributes.h"
#include "op/sampling.h"
#include "tensor/shape.h"

namespace lathe::op {

// Resize's attributes, checked.
struct ResizeSpec {
  std::string mode;         // nearest, linear, cubic
  std::string coordinates;  // coordinate_transformation_mode
  std::string nearest;      // nearest_mode
  std::string policy;       // keep_aspect_ratio_policy
  std::vector<size_t> axes;
  bool antialias = false;
  bool exclude_outside = false;
  double cubic_a = -0.75;
  double extrapolation = 0;

  bool crops() const { return coordinates == "tf_crop_and_resize"; }
};
// Throws invalid_input for unknown words and axes outside of the rank or named twice.
ResizeSpec read_resize(const Attributes& attributes, size_t rank);

struct ResizeAxis {
  int64_t length = 0;  // of the input
  int64_t count = 0;   // of the output
  double width = 0;    // the output's before it was rounded to count
  // Output per input, given as f32 or, from sizes, as this fraction.
  std::optional<float> scale;
  double numerator = 1;
  double denominator = 1;
  double start = 0;  // the part of the input that is read, in [0, 1] of its length
  double end = 1;
};

// Every axis of an input of these dims. Of `scales` and `sizes` one is empty and the other has a number for each of
// spec.axes; `roi` has two, or is empty. Throws invalid_input for values that make no sense.
std::vector<ResizeAxis> plan_resize(const ResizeSpec& spec, const tensor::Dims& dims, const std::vector<double>& roi,
                                    const std::vector<double>& scales, const std::vector<int64_t>& sizes);

// Where output element i lies in the input, in elements of the input.
double resize_coordinate(const ResizeSpec& spec, const ResizeAxis& axis, int64_t i);
// The input elements that make up one at x; never empty when the axis has elements.
std::vector<WeightedTap> resize_taps(const ResizeSpec& spec, const ResizeAxis& axis, double x);

}  // namespace lathe::op
