// One class of schedulers: what each file of schedulers/ registers.
#pragma once

#include <memory>
#include <string_view>

#include "pipeline/diffuse/scheduler.h"

namespace lathe::pipeline {

struct SchedulerKind {
  std::string_view class_name;
  size_t calls_per_step = 1;  // of the model; the last step of those with two needs one
  std::unique_ptr<Scheduler> (*make)(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run);
};

template <class T>
std::unique_ptr<Scheduler> make_of(const contract::SchedulerConfig& config, int steps, const SchedulerRun& run) {
  return std::make_unique<T>(config, steps, run);
}

}  // namespace lathe::pipeline
