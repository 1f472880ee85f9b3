#include "runtime/arena.h"

#include <algorithm>
#include <numeric>

#include "base/checked.h"

namespace lathe::runtime {
namespace {

constexpr size_t kAlign = 64;

bool meet(const ArenaBuffer& a, const ArenaBuffer& b) {
  return a.begin <= b.end && b.begin <= a.end;
}

// The lowest offset at which `buffer` fits between those in `placed` (sorted by offset) that it meets.
size_t find_hole(const ArenaBuffer& buffer, size_t bytes, const std::vector<const ArenaBuffer*>& placed) {
  size_t offset = 0;
  for (const ArenaBuffer* other : placed) {
    if (!meet(buffer, *other)) continue;
    if (offset + bytes <= other->offset) break;
    offset = std::max(offset, align_up(other->offset + other->bytes, kAlign));
  }
  return offset;
}

}  // namespace

size_t place_buffers(std::vector<ArenaBuffer>& buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  std::vector<const ArenaBuffer*> placed;
  size_t total = 0;
  for (const size_t i : order) {
    ArenaBuffer& buffer = buffers[i];
    buffer.offset = find_hole(buffer, buffer.bytes, placed);
    const auto at = std::lower_bound(placed.begin(), placed.end(), &buffer,
                                     [](const ArenaBuffer* a, const ArenaBuffer* b) { return a->offset < b->offset; });
    placed.insert(at, &buffer);
    total = std::max(total, checked_add(buffer.offset, buffer.bytes, "arena"));
  }
  return align_up(total, kAlign);
}

}  // namespace lathe::runtime
