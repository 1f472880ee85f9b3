// Elementwise operators over tiles of the result: how each input is read where it is broadcast or lies otherwise.
#pragma once

#include <string>
#include <vector>

#include "backend/graph_kernel.h"

namespace lathe::backend::cpu {

constexpr size_t kMaxBroadcastRank = 8;

// In place, as one number, or copied to a tile.
enum class Reading : uint8_t { in_place, number, copied };

struct BroadcastOperand {
  Reading reading = Reading::in_place;
  int64_t strides[kMaxBroadcastRank] = {};  // of the joined axes, in elements; 0 where broadcast
};

// The result as a walk over its axes as they lie, those that all operands walk alike joined.
struct Broadcast {
  std::vector<BroadcastOperand> operands;
  std::vector<int64_t> dims;
  int64_t count = 0;
};

// Sets the orders of inputs and output: as the first input of the result's shape lies; others of that shape are moved,
// smaller ones are read as they lie. A reason where there are too many axes.
std::optional<std::string> fit_broadcast(Problem& problem);
Broadcast make_broadcast(const Problem& problem);
// Elements [begin, begin + count) of the result's walk as the operand has them, of 1, 2, 4, 8 or 16 bytes.
void copy_operand(const Broadcast& broadcast, const BroadcastOperand& operand, size_t element, const std::byte* from,
                  int64_t begin, int64_t count, std::byte* out) noexcept;

}  // namespace lathe::backend::cpu
