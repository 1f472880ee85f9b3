#include "op/regions.h"

#include <cmath>

#include "base/error.h"
#include "op/values.h"

namespace lathe::op {

std::vector<double> load_regions(std::string_view op, const tensor::Tensor& rois) {
  std::vector<double> values = load<double>(rois);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      fail(ErrorCode::invalid_input, "{}: region {} has the coordinate {}", op, i / size_t(rois.dims()[1]), values[i]);
    }
  }
  return values;
}

int64_t region_batch(std::string_view op, double index, int64_t batch) {
  if (!(index >= 0 && index < double(batch))) {
    fail(ErrorCode::invalid_input, "{}: a region in image {} of {}", op, index, batch);
  }
  return int64_t(index);
}

}  // namespace lathe::op
