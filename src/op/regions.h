// Regions of interest: their coordinates and the image they belong to, checked.
#pragma once

#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace lathe::op {

// All numbers of `rois`. Throws invalid_input if one is not finite.
std::vector<double> load_regions(std::string_view op, const tensor::Tensor& rois);
// The image that a region belongs to. Throws invalid_input outside of [0, batch).
int64_t region_batch(std::string_view op, double index, int64_t batch);

}  // namespace lathe::op
