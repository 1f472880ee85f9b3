// How much an instruction has to do, roughly: whether a second thread is worth waking.
#pragma once

#include "backend/graph_kernel.h"

namespace lathe::runtime {

// Multiplications, or elements read and written where those are more.
double work_of(const backend::Problem& problem);
// Of convolutions, matrix products, attention and recurrent layers as they are defined, whatever a kernel saves; 0 of
// other operators.
double multiplications_of(const backend::Problem& problem);

}  // namespace lathe::runtime
