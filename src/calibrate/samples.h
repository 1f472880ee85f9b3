// What a graph is run on to be calibrated: sets of inputs, read one at a time.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "op/datum.h"

namespace lathe::calibrate {

using GraphData = std::map<std::string, op::Datum>;

struct Samples {
  size_t count = 0;
  std::function<GraphData(size_t index)> load;
};

}  // namespace lathe::calibrate
