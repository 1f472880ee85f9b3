// The Blackman window.
#include "op/windows.h"

namespace lathe::op {
const OpDef& blackman_window_op() {
  static const OpDef def = window_def("BlackmanWindow", [](EvaluateContext& context) {
    evaluate_window(context, {0.42, 0.5, 0.08});
  });
  return def;
}

}  // namespace lathe::op
