// How far a tensor is from the one that it should be, by the measure of gate 2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "op/datum.h"

namespace lathe::verify {

struct TensorError {
  std::string form;   // of another kind, dtype or dims: "expected f32[2], found f32[3]"; the rest says nothing then
  bool exact = true;  // integers, booleans and texts: they are the same or not
  double max_abs = 0;  // infinite where one is NaN or infinite and the other is not
  double scale = 0;    // largest finite magnitude of what was expected
  int64_t differing = 0;   // elements that are not equal
  int64_t not_finite = 0;  // elements expected that are NaN or infinite
  int64_t size = 0;
  std::vector<int64_t> index;  // of max_abs
  double expected = 0;         // there
  double found = 0;

  // max_abs as a share of scale, which counts as at least kFloor.
  double relative() const;
  // Whether it is the same: floats by the bound, all else equal.
  bool within(double bound) const;
};

// NaN equals NaN, infinities equal themselves. Floats of different dtypes are compared as numbers; every other
// difference in dtype or dims is a form.
TensorError error_of(const tensor::Tensor& expected, const tensor::Tensor& found);
// The worst of the items of sequences.
TensorError error_of(const op::Datum& expected, const op::Datum& found);

}  // namespace lathe::verify
