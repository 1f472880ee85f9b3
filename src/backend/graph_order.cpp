#include "backend/graph_order.h"

namespace lathe::backend {

std::vector<size_t> axes_in_order(size_t rank, Order order) {
  std::vector<size_t> axes;
  for (size_t i = 0; i < rank; ++i) axes.push_back(i);
  if (order == Order::channels_last && rank >= 3) {
    axes.erase(axes.begin() + 1);
    axes.push_back(1);
  }
  return axes;
}

std::vector<int64_t> strides_of(const tensor::Dims& dims, Order order) {
  std::vector<int64_t> strides(dims.size(), 0);
  int64_t stride = 1;
  const auto axes = axes_in_order(dims.size(), order);
  for (size_t i = dims.size(); i-- > 0;) {
    strides[axes[i]] = dims[axes[i]] == 1 ? 0 : stride;
    stride *= dims[axes[i]];
  }
  return strides;
}

StridedWalk join_axes(const std::vector<int64_t>& dims, const std::vector<int64_t>& from,
                      const std::vector<int64_t>& to) {
  StridedWalk walk;
  walk.count = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    walk.count *= dims[i];
    if (dims[i] == 1) continue;
    const bool joined =
        !walk.dims.empty() && walk.from.back() == from[i] * dims[i] && walk.to.back() == to[i] * dims[i];
    if (joined) {
      walk.dims.back() *= dims[i];
      walk.from.back() = from[i];
      walk.to.back() = to[i];
    } else {
      walk.dims.push_back(dims[i]);
      walk.from.push_back(from[i]);
      walk.to.push_back(to[i]);
    }
  }
  if (walk.dims.empty()) walk = {{1}, {1}, {1}, walk.count};
  return walk;
}

}  // namespace lathe::backend
