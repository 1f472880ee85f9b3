// Whether 16 bits hold the numbers of a constant.
#pragma once

#include <optional>
#include <string>

#include "tensor/source.h"

namespace lathe::opt {

// The largest finite number of f16 or bf16.
double largest_of(tensor::DType half);

// The largest finite magnitude of an f32 source. Reads it.
double largest_finite(const tensor::Source& source);

// Why f16 or bf16 does not hold the finite numbers of an f32 source: one is beyond its range, or they are so small that
// much of them is lost (root mean square: four times what f16 loses of numbers in its range, eight times as much for
// bf16). nullopt where it does. Reads the source.
std::optional<std::string> refusal_of(const tensor::Source& source, tensor::DType half);

}  // namespace lathe::opt
