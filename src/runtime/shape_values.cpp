#include "runtime/shape_values.h"

#include <algorithm>
#include <string_view>

namespace lathe::runtime {
namespace {

// Operators whose inference reads elements of inputs, from `first` on. One that is missing here is bound when its input
// is there: slower, never wrong.
struct Reader {
  std::string_view op;
  size_t first;
};
constexpr Reader kReaders[] = {
    {"AffineGrid", 1},   {"BlackmanWindow", 0}, {"CenterCropPad", 1}, {"Col2Im", 1},     {"ConstantOfShape", 0},
    {"DFT", 1},          {"Expand", 1},         {"EyeLike", 1},       {"HammingWindow", 0}, {"HannWindow", 0},
    {"MaxUnpool", 2},    {"OneHot", 1},         {"Pad", 1},           {"Range", 0},      {"ReduceL1", 1},
    {"ReduceL2", 1},     {"ReduceLogSum", 1},   {"ReduceLogSumExp", 1}, {"ReduceMax", 1}, {"ReduceMean", 1},
    {"ReduceMin", 1},    {"ReduceProd", 1},     {"ReduceSum", 1},     {"ReduceSumSquare", 1}, {"Reshape", 1},
    {"Resize", 1},       {"STFT", 1},           {"Slice", 1},         {"Split", 1},      {"SplitToSequence", 1},
    {"Squeeze", 1},      {"Tile", 1},           {"TopK", 1},          {"Trilu", 1},      {"Unsqueeze", 1},
};

size_t first_read(std::string_view op) {
  const auto it = std::find_if(std::begin(kReaders), std::end(kReaders), [&](const Reader& r) { return r.op == op; });
  return it == std::end(kReaders) ? size_t(-1) : it->first;
}

}  // namespace

std::vector<bool> shape_values(const plan::GraphPlan& plan) {
  std::vector<bool> wanted(plan.values.size(), false);
  for (auto it = plan.instructions.rbegin(); it != plan.instructions.rend(); ++it) {
    const bool needed = std::any_of(it->outputs.begin(), it->outputs.end(), [&](const plan::Operand& output) {
      return output.kind == plan::OperandKind::buffer && wanted[size_t(output.index)];
    });
    const size_t first = needed ? 0 : first_read(it->op);
    for (size_t i = first; i < it->inputs.size(); ++i) {
      if (it->inputs[i].kind == plan::OperandKind::buffer) wanted[size_t(it->inputs[i].index)] = true;
    }
  }
  return wanted;
}

}  // namespace lathe::runtime
