#include <algorithm>
#include <tuple>

#include "base/checked.h"
#include "plan/liveness.h"
#include "plan/plan.h"

namespace lathe::plan {
namespace {

// One place of the arena: a buffer and those that take its place after it.
struct Slot {
  int64_t bytes;  // per row
  int64_t begin;  // lifetime of all of them
  int64_t end;
  std::vector<size_t> buffers;
  int64_t offset = 0;
};

int64_t aligned(int64_t offset, int64_t bytes, int64_t element) {
  // offset x rows keeps what divides the offset, whatever the number of rows.
  return align_up(offset, bytes >= 64 ? int64_t{64} : element);
}

std::vector<Slot> slots_of(const Plan& plan, const std::vector<Lifetime>& lives, Rows kind) {
  std::vector<size_t> order;  // by first write, so that a replaced buffer comes before the one that replaces it
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const Buffer& buffer = plan.buffers[i];
    if (buffer.rows == kind && !placed_by_runtime(buffer.name)) order.push_back(i);
  }
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return std::pair(lives[a].begin, a) < std::pair(lives[b].begin, b); });
  std::vector<Slot> slots;
  std::vector<size_t> slot_of(plan.buffers.size());
  for (const size_t i : order) {
    const Lifetime& life = lives[i];
    if (life.in_place_of >= 0) {
      slot_of[i] = slot_of[size_t(life.in_place_of)];
      Slot& slot = slots[slot_of[i]];
      slot.end = life.end;
      slot.buffers.push_back(i);
    } else {
      slot_of[i] = slots.size();
      slots.push_back({row_bytes(plan.buffers[i]), life.begin, life.end, {i}});
    }
  }
  return slots;
}

// The lowest place from `base` on that is free while `slot` lives.
int64_t first_fit(const Slot& slot, int64_t element, int64_t base, const std::vector<const Slot*>& placed) {
  std::vector<const Slot*> neighbours;
  for (const Slot* other : placed) {
    if (other->begin <= slot.end && slot.begin <= other->end) neighbours.push_back(other);
  }
  std::sort(neighbours.begin(), neighbours.end(), [](const Slot* a, const Slot* b) { return a->offset < b->offset; });
  int64_t offset = aligned(base, slot.bytes, element);
  for (const Slot* other : neighbours) {
    if (offset + slot.bytes <= other->offset) break;
    offset = std::max(offset, aligned(other->offset + other->bytes, slot.bytes, element));
  }
  return offset;
}

// Places all buffers of a kind at `base` or above; gives the end of the highest.
int64_t place(Plan& plan, const std::vector<Lifetime>& lives, Rows kind, int64_t base) {
  std::vector<Slot> slots = slots_of(plan, lives, kind);
  std::sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) {
    return std::tuple(-a.bytes, a.begin, a.buffers[0]) < std::tuple(-b.bytes, b.begin, b.buffers[0]);
  });
  std::vector<const Slot*> placed;
  int64_t top = base;
  for (Slot& slot : slots) {
    const int64_t element = tensor::bits(plan.buffers[slot.buffers[0]].dtype) / 8;
    slot.offset = first_fit(slot, element, base, placed);
    placed.push_back(&slot);
    for (const size_t buffer : slot.buffers) plan.buffers[buffer].offset = slot.offset;
    top = std::max(top, slot.offset + slot.bytes);
  }
  return top;
}

}  // namespace

void plan_memory(Plan& plan) {
  for (Buffer& buffer : plan.buffers) buffer.offset = 0;
  const std::vector<Lifetime> lives = lifetimes(plan);
  const auto whole_lines = [](int64_t bytes) { return align_up(bytes, int64_t{64}); };
  plan.arena_tokens = whole_lines(place(plan, lives, Rows::tokens, 0));
  plan.arena_outputs = whole_lines(place(plan, lives, Rows::outputs, 0));
  // Their row counts differ by one: behind each other they stay apart for any count.
  const int64_t sequences = place(plan, lives, Rows::sequences, 0);
  plan.arena_sequences = whole_lines(place(plan, lives, Rows::sequences_one, sequences));
}

}  // namespace lathe::plan
