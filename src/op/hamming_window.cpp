// The Hamming window.
#include "op/windows.h"

namespace lathe::op {
const OpDef& hamming_window_op() {
  static const OpDef def = window_def("HammingWindow", [](EvaluateContext& context) {
    evaluate_window(context, {25.0 / 46, 21.0 / 46, 0});
  });
  return def;
}

}  // namespace lathe::op
