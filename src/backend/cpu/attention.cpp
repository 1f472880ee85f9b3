#include "backend/cpu/attention.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/attention_tier.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/numbers.h"

namespace lathe::backend::cpu {
namespace {

// Every unit's keys are cut into at most kChunks runs of whole blocks, by its length alone, and the runs'
// sums are merged from first to last: threads may take any of them and the bits stay the same.
constexpr int64_t kChunks = 16;
constexpr int64_t kWideChunks = 4;  // for tiles of more than kSplitTokens tokens, of which there are many
constexpr int64_t kSplitTokens = 12;
constexpr int64_t kDirectCost = 8;  // of reading a block, in rows
constexpr size_t kAlignment = 64;

KvLayout layout_of(const KvShape& shape) noexcept {
  KvLayout layout{};
  layout.dtype = shape.dtype;
  layout.head_dim = shape.head_dim;
  layout.value_dim = align_up<int64_t>(shape.head_dim, 16);
  layout.element_size = shape.dtype == tensor::DType::f32 ? 4 : 2;
  layout.head_size = size_t((layout.head_dim + layout.value_dim) * kKvBlock) * layout.element_size;
  layout.block_size = layout.head_size * size_t(shape.kv_heads);
  return layout;
}

void check_shape(const KvShape& shape) {
  using tensor::DType;
  if (shape.dtype != DType::f32 && shape.dtype != DType::f16 && shape.dtype != DType::bf16) {
    fail(ErrorCode::unsupported, "KV cache of {}: expected f32, f16 or bf16", tensor::to_string(shape.dtype));
  }
  if (shape.kv_heads < 1 || shape.head_dim < 1 || shape.kv_heads > 1 << 16 || shape.head_dim > 1 << 16) {
    fail(ErrorCode::unsupported, "KV cache of {} heads of {} dimensions", shape.kv_heads, shape.head_dim);
  }
}

// Sizes that follow from the shape of the model alone.
struct TileShape {
  int64_t group;   // query heads per KV head
  int64_t tokens;  // per tile
  int64_t max_rows;
  size_t state_size;  // bytes of one AttentionState
  size_t keys_size;
  size_t values_size;
  size_t scores_size;
  size_t member_size;  // bytes of a member's own scratch
};

TileShape tile_shape(int64_t heads, const KvShape& kv, const KvLayout& layout) noexcept {
  // Enough rows that widening a block costs little next to its products, few enough to stay in L2.
  const int64_t wanted_rows = kv.head_dim <= 128 ? 96 : 48;
  TileShape shape{};
  shape.group = heads / kv.kv_heads;
  shape.tokens = std::max<int64_t>(1, wanted_rows / shape.group);
  shape.max_rows = shape.tokens * shape.group;
  const auto floats = [](int64_t count) { return align_up(size_t(count) * sizeof(float), kAlignment); };
  shape.state_size = 2 * floats(shape.max_rows) + floats(shape.max_rows * layout.value_dim);
  shape.keys_size = floats(layout.head_dim * kKvBlock);
  shape.values_size = floats(layout.value_dim * kKvBlock);
  shape.scores_size = floats(kDirectRows * kKvBlock);
  shape.member_size = 2 * shape.state_size + shape.keys_size + shape.values_size + shape.scores_size;
  return shape;
}

// A tile of one sequence and KV head, and how its keys are cut.
struct Unit {
  int64_t sequence;
  int64_t kv_head;
  int64_t token;  // first, in the step
  int64_t tokens;
  int64_t position;  // of the first token
  int64_t blocks;
  int64_t chunk_blocks;
  int64_t chunks;
  int64_t block_cost;

  int64_t cost() const { return blocks * block_cost; }
};

template <class Body>
void for_each_unit(const AttentionCall& call, const TileShape& shape, Body&& body) {
  for (int64_t s = 0; s < call.sequences; ++s) {
    const int64_t begin = call.first_token[s];
    const int64_t end = call.first_token[s + 1];
    for (int64_t head = 0; head < call.kv.kv_heads; ++head) {
      for (int64_t token = begin; token < end; token += shape.tokens) {
        Unit unit{};
        unit.sequence = s;
        unit.kv_head = head;
        unit.token = token;
        unit.tokens = std::min(shape.tokens, end - token);
        unit.position = call.first_position[s] + (token - begin);
        unit.blocks = ceil_div(unit.position + unit.tokens, kKvBlock);
        unit.chunk_blocks = ceil_div(unit.blocks, unit.tokens <= kSplitTokens ? kChunks : kWideChunks);
        unit.chunks = ceil_div(unit.blocks, unit.chunk_blocks);
        unit.block_cost = unit.tokens * shape.group + kDirectCost;
        body(unit);
      }
    }
  }
}

// Pointers into the scratch that one call uses: rotated queries, then each member's part, then the partial
// sums of units that more than one member works on.
class Scratch {
 public:
  Scratch(const AttentionCall& call, const KvLayout& layout, const TileShape& shape, int members)
      : shape_(shape), base_(call.scratch), value_dim_(layout.value_dim) {
    members_ = align_up(size_t(call.tokens * call.heads * layout.head_dim) * sizeof(float), kAlignment);
    slots_ = members_ + size_t(members) * shape.member_size;
  }

  float* queries() const { return floats(0); }  // [kv_heads, tokens, group, head_dim]
  AttentionState state(int member, int which) const {
    return state_at(member_part(member) + size_t(which) * shape_.state_size);
  }
  float* keys(int member) const { return floats(member_part(member) + 2 * shape_.state_size); }
  float* values(int member) const {
    return floats(member_part(member) + 2 * shape_.state_size + shape_.keys_size);
  }
  float* scores(int member) const {
    return floats(member_part(member) + 2 * shape_.state_size + shape_.keys_size + shape_.values_size);
  }
  // Chunk `chunk` of the unit that begins on `member` and ends on another one: there is at most one.
  AttentionState slot(int64_t member, int64_t chunk) const {
    return state_at(slots_ + size_t(member * kChunks + chunk) * shape_.state_size);
  }

 private:
  size_t member_part(int member) const { return members_ + size_t(member) * shape_.member_size; }
  float* floats(size_t offset) const { return reinterpret_cast<float*>(base_ + offset); }
  AttentionState state_at(size_t offset) const {
    const size_t rows = align_up(size_t(shape_.max_rows) * sizeof(float), kAlignment);
    return {floats(offset), floats(offset + rows), floats(offset + 2 * rows)};
  }

  const TileShape& shape_;
  std::byte* base_;
  int64_t value_dim_;
  size_t members_;
  size_t slots_;
};

// One member's work on one call.
class Attention {
 public:
  Attention(const AttentionTier& tier, const AttentionCall& call, TeamMember& member)
      : tier_(tier),
        call_(call),
        member_(member),
        layout_(layout_of(call.kv)),
        shape_(tile_shape(call.heads, call.kv, layout_)),
        scratch_(call, layout_, shape_, member.size()) {}

  void run() {
    append();
    member_.barrier();
    attend();
  }

 private:
  // Rotates and appends this member's share of (KV head, token).
  void append() {
    const auto [begin, end] = member_.share(call_.kv.kv_heads * call_.tokens);
    for (int64_t at = begin; at < end;) {
      const int64_t head = at / call_.tokens;
      const int64_t token = at % call_.tokens;
      const int64_t s = std::upper_bound(call_.first_token, call_.first_token + call_.sequences + 1, token) -
                        call_.first_token - 1;
      const int64_t count = std::min(end - at, call_.first_token[s + 1] - token);
      append_run(head, s, token, count);
      at += count;
    }
  }

  void append_run(int64_t head, int64_t s, int64_t token, int64_t count) {
    const int64_t dim = layout_.head_dim;
    AppendRun run{};
    run.token_stride = (call_.heads + 2 * call_.kv.kv_heads) * dim;
    const float* qkv = call_.qkv + token * run.token_stride;
    run.queries = qkv + head * shape_.group * dim;
    run.key = qkv + (call_.heads + head) * dim;
    run.value = run.key + call_.kv.kv_heads * dim;
    run.tokens = count;
    run.group = shape_.group;
    run.scale = call_.scale;
    run.rotary_dim = call_.cos ? call_.rotary_dim : 0;
    run.cos = call_.cos ? call_.cos + token * (call_.rotary_dim / 2) : nullptr;
    run.sin = call_.cos ? call_.sin + token * (call_.rotary_dim / 2) : nullptr;
    run.interleaved = call_.interleaved;
    run.first_position = call_.first_position[s] + (token - call_.first_token[s]);
    run.blocks = call_.block_table + s * call_.blocks_per_sequence;
    run.cache = call_.cache + size_t(head) * layout_.head_size;
    run.rotated = rotated(head, token);
    run.row = scratch_.keys(member_.index());
    tier_.append(layout_, run);
  }

  float* rotated(int64_t head, int64_t token) const {
    return scratch_.queries() + (head * call_.tokens + token) * shape_.group * layout_.head_dim;
  }

  AttentionTile tile_of(const Unit& unit) const {
    const int me = member_.index();
    return {.queries = rotated(unit.kv_head, unit.token),
            .rows = unit.tokens * shape_.group,
            .group = shape_.group,
            .first_position = unit.position,
            .blocks = call_.block_table + unit.sequence * call_.blocks_per_sequence,
            .cache = call_.cache + size_t(unit.kv_head) * layout_.head_size,
            .scores = scratch_.scores(me),
            .keys = scratch_.keys(me),
            .values = scratch_.values(me)};
  }

  // The list of all chunks of all units, in order, is cut into parts of equal cost, one for each member. So
  // at most one unit begins on a member and ends on another; its later chunks go to slots and the member it
  // began on merges them.
  void attend() {
    total_ = 0;
    for_each_unit(call_, shape_, [&](const Unit& unit) { total_ += unit.cost(); });
    const AttentionState sums = scratch_.state(member_.index(), 0);
    int64_t before = 0;  // cost of the units so far
    bool shared = false;
    Unit pending{};  // begun here, ended elsewhere
    int64_t pending_before = 0;
    for_each_unit(call_, shape_, [&](const Unit& unit) {
      const int first = chunk_owner(unit, before, 0);
      const int last = chunk_owner(unit, before, unit.chunks - 1);
      shared |= first != last;
      if (first <= member_.index() && member_.index() <= last) attend_unit(unit, before, first);
      if (first == member_.index()) {
        if (last == first) {
          finish(unit, sums);
        } else {
          pending = unit;
          pending_before = before;
        }
      }
      before += unit.cost();
    });
    if (!shared) return;
    member_.barrier();
    if (pending.tokens == 0) return;
    for (int64_t chunk = 0; chunk < pending.chunks; ++chunk) {
      if (chunk_owner(pending, pending_before, chunk) == member_.index()) continue;
      tier_.merge(sums, scratch_.slot(member_.index(), chunk), pending.tokens * shape_.group,
                  layout_.value_dim);
    }
    finish(pending, sums);
  }

  int chunk_owner(const Unit& unit, int64_t before, int64_t chunk) const {
    return int((before + chunk * unit.chunk_blocks * unit.block_cost) * member_.size() / total_);
  }

  // This member's chunks of a unit that begins on member `first`.
  void attend_unit(const Unit& unit, int64_t before, int first) {
    const AttentionTile tile = tile_of(unit);
    const AttentionState sums = scratch_.state(member_.index(), 0);
    const AttentionState part = scratch_.state(member_.index(), 1);
    for (int64_t chunk = 0; chunk < unit.chunks; ++chunk) {
      if (chunk_owner(unit, before, chunk) != member_.index()) continue;
      const int64_t begin = chunk * unit.chunk_blocks;
      const int64_t end = std::min(begin + unit.chunk_blocks, unit.blocks);
      if (first != member_.index()) {
        tier_.attend(layout_, tile, begin, end, scratch_.slot(first, chunk));
      } else if (chunk == 0) {
        tier_.attend(layout_, tile, begin, end, sums);
      } else {
        tier_.attend(layout_, tile, begin, end, part);
        tier_.merge(sums, part, tile.rows, layout_.value_dim);
      }
    }
  }

  void finish(const Unit& unit, const AttentionState& sums) {
    const int64_t stride = call_.heads * layout_.head_dim;
    float* out = call_.out + unit.token * stride + unit.kv_head * shape_.group * layout_.head_dim;
    tier_.finish(layout_, tile_of(unit), sums, out, stride);
  }

  const AttentionTier& tier_;
  const AttentionCall& call_;
  TeamMember& member_;
  KvLayout layout_;
  TileShape shape_;
  Scratch scratch_;
  int64_t total_ = 0;  // cost of the call
};

template <const AttentionTier& tier>
void run_attention(const AttentionCall& call, TeamMember& member) noexcept {
  Attention(tier, call, member).run();
}

}  // namespace

size_t kv_block_size(const KvShape& shape) {
  check_shape(shape);
  return layout_of(shape).block_size;
}

void read_kv_block(const KvShape& shape, const std::byte* block, int64_t count, float* keys, float* values) {
  check_shape(shape);
  LATHE_CHECK(count >= 0 && count <= kKvBlock, "{} positions of a block", count);
  const KvLayout layout = layout_of(shape);
  const auto element = [&](const std::byte* head, int64_t index) {
    if (shape.dtype == tensor::DType::f32) {
      float value;
      std::memcpy(&value, head + index * 4, sizeof(value));
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, head + index * 2, sizeof(bits));
    return shape.dtype == tensor::DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  };
  for (int64_t h = 0; h < shape.kv_heads; ++h) {
    const std::byte* head = block + size_t(h) * layout.head_size;
    for (int64_t p = 0; p < count; ++p) {
      for (int64_t i = 0; i < shape.head_dim; ++i) {
        *keys++ = element(head, i * kKvBlock + p);
        *values++ = element(head, shape.head_dim * kKvBlock + p * layout.value_dim + i);
      }
    }
  }
}

size_t attention_scratch_size(int64_t max_tokens, int64_t heads, const KvShape& kv, int threads) {
  check_shape(kv);
  if (heads < kv.kv_heads || heads % kv.kv_heads != 0) {
    fail(ErrorCode::unsupported, "{} query heads over {} KV heads", heads, kv.kv_heads);
  }
  const KvLayout layout = layout_of(kv);
  const TileShape shape = tile_shape(heads, kv, layout);
  const size_t queries = checked_mul(checked_cast<size_t>(max_tokens, "tokens"),
                                     size_t(heads * kv.head_dim) * sizeof(float), "attention scratch");
  const size_t member = shape.member_size + size_t(kChunks) * shape.state_size;
  return checked_add(align_up(queries, kAlignment), size_t(threads) * member, "attention scratch");
}

AttentionKernel attention_kernel(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return run_attention<avx2::attention_tier>;
    case Isa::avx512:
    case Isa::amx:
    case Isa::amx_emulated:
      return run_attention<avx512::attention_tier>;
  }
  fail(ErrorCode::internal, "isa {}", int(isa));
}

}  // namespace lathe::backend::cpu
