#include "backend/cpu/conv_windows.h"

#include "op/sliding_windows.h"

namespace lathe::backend::cpu {

ConvWindows conv_windows(const Problem& problem, const ProblemValue& x, const ProblemValue& w) {
  ConvWindows p{};
  const tensor::Shape kernel = tensor::to_shape(std::span(w.dims).subspan(2));
  const op::Windows windows = op::plan_windows("Conv", problem.attributes(), x.dims, &kernel);
  const size_t rank = windows.lengths.size();
  for (size_t i = 0; i < kWindowAxes; ++i) {
    const bool there = i + rank >= kWindowAxes;
    const size_t axis = there ? i + rank - kWindowAxes : 0;
    p.lengths[i] = there ? windows.lengths[axis] : 1;
    p.counts[i] = there ? windows.counts[axis] : 1;
    p.kernel[i] = there ? windows.kernel[axis] : 1;
    p.strides[i] = there ? windows.strides[axis] : 1;
    p.dilations[i] = there ? windows.dilations[axis] : 1;
    p.begins[i] = there ? windows.begins[axis] : 0;
  }
  p.batch = x.dims[0];
  p.group = problem.attributes().get_int("group", 1);
  p.channels = w.dims[1];
  p.features = w.dims[0] / p.group;
  p.positions = p.batch * windows.count();
  p.taps = windows.kernel_size();
  p.matrix = p.taps == 1 && windows.counts == windows.lengths &&
             std::all_of(windows.begins.begin(), windows.begins.end(), [](int64_t pad) { return pad == 0; });
  return p;
}

}  // namespace lathe::backend::cpu
