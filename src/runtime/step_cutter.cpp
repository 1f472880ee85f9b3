#include "runtime/step_cutter.h"

#include <algorithm>

namespace lathe::runtime {

std::vector<Part> StepCutter::next(const std::function<int64_t(SequenceId)>& length_of) {
  std::vector<Part> parts;
  int64_t tokens = 0;
  int64_t outputs = 0;
  while (!done() && int64_t(parts.size()) < capacity_.sequences) {
    const int64_t left = int64_t(items_[item_].tokens.size()) - begin_;
    int64_t count = std::min(left, capacity_.tokens - tokens);
    if (items_[item_].logits == Logits::all) count = std::min(count, capacity_.outputs - outputs);
    if (items_[item_].logits == Logits::last && count == left && outputs == capacity_.outputs) --count;
    if (grid_ > 0) {
      const int64_t to_edge = grid_ - length_of(items_[item_].sequence) % grid_;
      const int64_t wanted = std::min(left, to_edge);
      if (count < wanted && !parts.empty()) break;
      count = std::min(count, wanted);
    }
    if (count <= 0) break;
    parts.push_back({item_, begin_, count});
    tokens += count;
    if (items_[item_].logits == Logits::all)
      outputs += count;
    else if (items_[item_].logits == Logits::last && count == left)
      ++outputs;
    begin_ += count;
    if (count < left) break;
    ++item_;
    begin_ = 0;
  }
  return parts;
}

}  // namespace lathe::runtime
