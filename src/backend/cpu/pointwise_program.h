// Steps of op/pointwise.h as calls of a tier's functions.
#pragma once

#include <string_view>
#include <vector>

#include "backend/cpu/isa.h"
#include "backend/cpu/pointwise.h"
#include "op/pointwise.h"

namespace lathe::backend::cpu {

struct PointwiseInstruction {
  PointwiseFunction function = nullptr;
  int64_t a = -1, b = -1;  // values; -1: the numbers below
  float a_number = 0, b_number = 0;
  float p = 0, q = 0;
  bool two_operands = false;
};

// The values of a program for a tile: inputs first, then the results of steps. `steps[i]`: 1, or 0 for one number.
constexpr size_t kMaxPointwiseInputs = 16;
constexpr size_t kMaxPointwiseValues = 48;
constexpr int64_t kPointwiseTile = 1024;
struct PointwiseValues {
  const float* values[kMaxPointwiseValues];
  int64_t steps[kMaxPointwiseValues];
};
// Runs it for `count` elements: results in `tiles` (kPointwiseTile floats a step), but for the last one, in y.
void run_program(const std::vector<PointwiseInstruction>& program, size_t inputs, PointwiseValues& values, float* tiles,
                 int64_t count, float* y) noexcept;

PointwiseInstruction compile_step(const op::PointwiseStep& step, Isa isa);

}  // namespace lathe::backend::cpu
