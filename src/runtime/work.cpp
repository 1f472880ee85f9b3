#include "runtime/work.h"

#include <algorithm>

namespace lathe::runtime {
namespace {

using backend::Problem;

double size_of(const Problem& problem, size_t input) {
  return problem.has_input(input) ? double(problem.inputs[input].size()) : 0;
}

// The length of axis `axis` of an input, counted from the end if negative; 1 where there is none.
double length_of(const Problem& problem, size_t input, int64_t axis) {
  if (!problem.has_input(input)) return 1;
  const tensor::Dims& dims = problem.inputs[input].dims;
  const int64_t at = axis < 0 ? axis + int64_t(dims.size()) : axis;
  return at >= 0 && at < int64_t(dims.size()) ? std::max<double>(1, double(dims[size_t(at)])) : 1;
}

}  // namespace

double multiplications_of(const Problem& problem) {
  const std::string& op = problem.instruction->op;
  const double y = problem.outputs.empty() ? 0 : double(problem.outputs[0].size());
  if (op == "Conv" || op == "lathe.Conv" || op == "lathe.QConv") {
    return y * size_of(problem, 1) / length_of(problem, 1, 0);
  }
  if (op == "ConvTranspose") return size_of(problem, 0) * size_of(problem, 1) / length_of(problem, 1, 0);
  if (op == "MatMul" || op == "MatMulInteger" || op == "lathe.Linear" || op == "lathe.QLinear" ||
      op == "lathe.BlockLinear") {
    return y * length_of(problem, 0, -1);
  }
  if (op == "Gemm") return y * std::max(length_of(problem, 0, 0), length_of(problem, 0, 1));
  if (op == "Attention") return 2 * y * length_of(problem, 1, -2);
  if (op == "LSTM" || op == "GRU" || op == "RNN") {
    const double rows = length_of(problem, 0, 0) * length_of(problem, 0, 1);
    return rows * (size_of(problem, 1) + size_of(problem, 2));
  }
  return 0;
}

double work_of(const Problem& problem) {
  double elements = 0;
  for (size_t i = 0; i < problem.inputs.size(); ++i) elements += size_of(problem, i);
  for (const backend::ProblemValue& output : problem.outputs) elements += double(output.size());
  return std::max(elements, multiplications_of(problem));
}

}  // namespace lathe::runtime
