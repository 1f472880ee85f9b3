// How long a phase of a generation took.
#pragma once

#include <chrono>

namespace lathe::pipeline {

using Clock = std::chrono::steady_clock;

inline double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace lathe::pipeline
