// Weights as signed bytes with a scale for each feature, rounded where they are read.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tensor/source.h"

namespace lathe::opt {

struct RoundedWeights {
  tensor::SourcePtr codes;    // i8, the dims of the weights: -127 to 127
  std::vector<float> scales;  // one for each index of the axis
};

// By the constant and the axis.
using WeightCache = std::map<std::pair<tensor::SourcePtr, int64_t>, RoundedWeights>;

// Reads plain weights once for their scales; their codes are made when somebody reads them, so that a model is never in
// memory. Throws invalid_input naming `name` and the element that is not finite.
RoundedWeights round_weights(const std::string& name, const tensor::SourcePtr& weights, int64_t axis);

}  // namespace lathe::opt
