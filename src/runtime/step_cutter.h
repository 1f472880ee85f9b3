// Cutting what a session is asked for into packed steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/kernel.h"
#include "runtime/session.h"

namespace lathe::runtime {

// Tokens of one packed step, as parts of the caller's items.
struct Part {
  size_t item;
  int64_t begin;  // within the item's tokens
  int64_t count;
};

// Goes through the items once. Each step holds at most `capacity` tokens, sequences and rows of logits, and one part
// of an item. With a `grid`, which `capacity` holds, sequences are cut at multiples of so many positions and nowhere
// else, whatever is in the same step.
class StepCutter {
 public:
  StepCutter(std::span<const StepItem> items, const backend::Capacity& capacity, int64_t grid)
      : items_(items), capacity_(capacity), grid_(grid) {}

  bool done() const { return item_ == items_.size(); }
  // `length_of`: positions that a sequence has before the step.
  std::vector<Part> next(const std::function<int64_t(SequenceId)>& length_of);

 private:
  std::span<const StepItem> items_;
  backend::Capacity capacity_;
  int64_t grid_;  // 0: none
  // What comes next.
  size_t item_ = 0;
  int64_t begin_ = 0;
};

}  // namespace lathe::runtime
