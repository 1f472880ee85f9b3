// A compiled graph that quantises, held to the reference value by value on the reference's own values.
//
// One byte on the other side of a rounding step goes through all that follows, and where quantisers take their scale
// from the data it moves everything: two right runs end percents apart, and how far says nothing about any kernel. So
// each result is compared and then replaced by the reference's, and every kernel answers for its own inputs.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "verify/compare_values.h"

namespace lathe::verify {

struct ForcedOptions {
  double bound = 0;       // of floats, as gate 2 has it
  double step_share = 0;  // of the elements of a tensor of bytes: so many may differ by one step, exact ones of scalars
  size_t memory_bytes = size_t{1} << 30;  // of the reference's values, all of which are kept
};

// The bound of bytes that follows from one of floats: an error of `bound` of the largest number is so many of its 255
// steps, and so likely to cross the middle between two of them.
inline double step_share_of(double bound) {
  return 255 * bound;
}

// Whether a result is right given right inputs: floats by the bound; bytes equal but for single steps; all else equal.
bool forced_within(const TensorError& error, tensor::DType dtype, const ForcedOptions& options);

// Runs each session once, feeding it `expected`'s values for all results that both know by name, and compares them.
// `order` as for compare_values. Throws resource where the values do not fit.
std::vector<ValueComparison> compare_forced(const GraphRun& expected,
                                            std::span<const std::shared_ptr<runtime::GraphSession>> found,
                                            const GraphData& inputs, std::span<const std::string> order,
                                            const ForcedOptions& options);

}  // namespace lathe::verify
