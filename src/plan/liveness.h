// When each buffer of a plan holds something that is still needed.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan.h"

namespace lathe::plan {

// Instructions during which a buffer must keep its place, both ends included. Inputs begin at -1; the logits
// end behind the last instruction.
struct Lifetime {
  int64_t begin = -1;
  int64_t end = -1;
  // The buffer that dies where this one is written and whose place this one may take, or -1. No buffer is
  // named twice.
  int64_t in_place_of = -1;
};

// One per buffer. Operands and logits must be in range, and each buffer written at most once.
std::vector<Lifetime> lifetimes(const Plan& plan);

}  // namespace lathe::plan
