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

PointwiseInstruction compile_step(const op::PointwiseStep& step, Isa isa);

}  // namespace lathe::backend::cpu
