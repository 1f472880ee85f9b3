// GroupNorm and SkipGroupNorm of pictures, channels last or first, with an activation.
#include "base/error.h"
#include "frontend/contrib/parts.h"

namespace lathe::frontend {
namespace {

// Normalised in the type of gamma and beta, which may be wider than x's.
Value group_norm(const ContribNode& n, Value x) {
  const Builder& b = n.b;
  const int64_t activation = n.get_int("activation");
  if (activation != 0 && activation != 1) fail(ErrorCode::unsupported, "attribute \"activation\" is {}", activation);
  n.require_rank(0, {4});
  const bool last = n.get_bool("channels_last", true);
  Value y = b.cast(last ? channels_first(b, x, 4) : x, n.dtype(1));
  y = b.node("GroupNormalization", {y, n.in(1), n.in(2)},
             {{"num_groups", n.get_int("groups")}, {"epsilon", n.get_float("epsilon", 1e-5f)}});
  if (activation == 1) y = b.node("Swish", {y});
  y = b.cast(y, n.dtype(0));
  return last ? channels_last(b, y, 4) : y;
}

Results expand_group_norm(const ContribNode& n) {
  return {group_norm(n, n.in(0))};
}

// s = x + skip + bias, and its GroupNorm
Results expand_skip_group_norm(const ContribNode& n) {
  const Builder& b = n.b;
  n.require_rank(3, {2, 4});
  const bool last = n.get_bool("channels_last", true);
  // [channels] and [batch, channels] as pictures of one point.
  const auto spread = [&](Value v, int64_t rank) {
    if (rank == 4) return v;
    if (last) return rank == 2 ? b.unsqueeze(v, {1, 2}) : v;
    return b.unsqueeze(v, rank == 2 ? std::vector<int64_t>{2, 3} : std::vector<int64_t>{1, 2});
  };
  Value sum = b.add(n.in(0), spread(n.in(3), int64_t(n.rank(3))));
  if (n.has(4)) sum = b.add(sum, spread(n.in(4), 1));
  return {group_norm(n, sum), sum};
}

constexpr ContribOp kOps[] = {
    {.name = "GroupNorm",
     .inputs = "X gamma beta",
     .attributes = "activation channels_last epsilon groups",
     .expand = expand_group_norm},
    {.name = "SkipGroupNorm",
     .inputs = "X gamma beta skip bias?",
     .attributes = "activation channels_last epsilon groups",
     .outputs = 2,
     .expand = expand_skip_group_norm},
};

}  // namespace

std::span<const ContribOp> group_norm_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
