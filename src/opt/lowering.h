// From the operators of a graph to those that the device's kernels compute: products, convolutions with what follows
// them, runs of elementwise operators. Rules as in rule.h, one file each in opt/lower, `const Rule& <name>_lowering()`.
#pragma once

#include <vector>

#include "opt/pass.h"
#include "opt/rule.h"

namespace lathe::opt {

// All of them, sorted by name.
std::vector<const Rule*> lowering_rules();
// In order; after those of a level.
std::vector<Pass> lowering_passes();
// Those alone that put quantised operators on integers: what decides where values are rounded.
std::vector<Pass> quantising_passes();

}  // namespace lathe::opt
