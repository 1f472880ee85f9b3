// Gate 1 at run time: NaN and infinity in what a graph gives.
#pragma once

#include "runtime/graph_session.h"

namespace lathe::runtime {

// Throws verification naming the output, the first such element and how many there are. Sequences are looked into.
void require_finite(const GraphSession::Data& outputs);

}  // namespace lathe::runtime
