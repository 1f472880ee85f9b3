// How much an instruction has to do, roughly: whether a second thread is worth waking.
#pragma once

#include "backend/graph_kernel.h"

namespace lathe::runtime {

// Multiplications, or elements read and written where those are more.
double work_of(const backend::Problem& problem);

}  // namespace lathe::runtime
