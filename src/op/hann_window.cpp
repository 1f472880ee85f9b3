// The Hann window.
#include "op/windows.h"

namespace lathe::op {
const OpDef& hann_window_op() {
  static const OpDef def = window_def("HannWindow", [](EvaluateContext& context) {
    evaluate_window(context, {0.5, 0.5, 0});
  });
  return def;
}

}  // namespace lathe::op
