// RotaryEmbedding, with its positions as a table or as the first one.
#include "base/error.h"
#include "frontend/contrib/attention_parts.h"
#include "frontend/contrib/parts.h"

namespace lathe::frontend {
namespace {

enum Input : size_t { kX, kPositions, kCos, kSin };

Results expand(const ContribNode& n) {
  const Builder& b = n.b;
  n.require_rank(kX, {3, 4});
  n.require_rank(kPositions, {1, 2});
  for (const size_t cache : {size_t{kCos}, size_t{kSin}}) n.require_rank(cache, {2});
  n.only("is_packed_batching", 0, "sequences without padding between them have no expansion");
  if (n.get_float("scale", 1) != 1) fail(ErrorCode::unsupported, "attribute \"scale\" has no expansion");
  const bool flat = n.rank(kX) == 3;
  const int sequence_axis = flat ? 1 : 2;
  Value positions = n.in(kPositions);
  if (n.rank(kPositions) == 1) {  // the first one's, of all rows of the batch
    const Value batch = b.node("Shape", {n.in(kX)}, {{"start", int64_t{0}}, {"end", int64_t{1}}});
    const Value sequence =
        b.node("Shape", {n.in(kX)}, {{"start", int64_t{sequence_axis}}, {"end", int64_t{sequence_axis + 1}}});
    const Value line = b.add(count_up(b, length_of(b, n.in(kX), sequence_axis)), positions);
    positions = b.node("Expand", {line, b.concat({batch, sequence}, 0)});
  }
  const int64_t rotary = 2 * n.number(kCos, -1);
  const int64_t said = n.get_int("rotary_embedding_dim", 0);
  if (said != 0 && said != rotary) {
    fail(ErrorCode::invalid_input, "rotary_embedding_dim is {}, the cache has {} pairs", said, rotary / 2);
  }
  int64_t heads = n.get_int("num_heads", 0);
  if (flat && heads == 0) heads = n.number(kX, 2) / rotary;  // whole heads turn
  return {rotate(b, n.in(kX), flat ? heads : 0, n.in(kCos), n.in(kSin), positions, n.get_bool("interleaved"))};
}

constexpr ContribOp kOps[] = {
    {.name = "RotaryEmbedding",
     .inputs = "input position_ids cos_cache sin_cache",
     .attributes = "interleaved is_packed_batching num_heads rotary_embedding_dim scale",
     .expand = expand},
};

}  // namespace

std::span<const ContribOp> rotary_embedding_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
