// EmbedLayerNormalization: LayerNormalization(word[input_ids] + position[position_ids] + segment[segment_ids]).
#include "frontend/contrib/parts.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

enum Input : size_t { kIds, kSegments, kWords, kPositionTable, kSegmentTable, kGamma, kBeta, kMask, kPositionIds };

// How many ones each row of the mask has, i32 [batch]; 0 without a mask.
Value mask_index(const ContribNode& n) {
  const Builder& b = n.b;
  const Value zero = b.scalar(0, DType::i32);
  if (!n.has(kMask)) {
    return b.node("Expand", {zero, b.node("Shape", {n.in(kIds)}, {{"start", int64_t{0}}, {"end", int64_t{1}}})});
  }
  const Value ones = b.cast(b.node("Equal", {n.in(kMask), b.scalar(1, DType::i32)}), DType::i32);
  return b.node("ReduceSum", {ones, b.ints({1})}, {{"keepdims", int64_t{0}}});
}

Results expand(const ContribNode& n) {
  const Builder& b = n.b;
  n.require_rank(kIds, {2});
  if (n.has(kSegments) != n.has(kSegmentTable)) n.bad_input(kSegments, "it goes together with segment_embedding");
  const Value positions = n.has(kPositionIds) ? n.in(kPositionIds)
                                              : b.unsqueeze(count_up(b, length_of(b, n.in(kIds), 1)), {0});  // [1, seq]
  Value sum = b.add(b.node("Gather", {n.in(kWords), n.in(kIds)}), b.node("Gather", {n.in(kPositionTable), positions}));
  if (n.has(kSegments)) sum = b.add(sum, b.node("Gather", {n.in(kSegmentTable), n.in(kSegments)}));
  const Value y = b.node("LayerNormalization", {sum, n.in(kGamma), n.in(kBeta)},
                         {{"axis", int64_t{-1}}, {"epsilon", n.get_float("epsilon", 1e-12)}});
  return {y, n.wants(1) ? mask_index(n) : Value(), sum};
}

constexpr ContribOp kOps[] = {
    {.name = "EmbedLayerNormalization",
     .inputs = "input_ids segment_ids? word_embedding position_embedding segment_embedding? gamma beta mask? "
               "position_ids?",
     .attributes = "epsilon mask_index_type",
     .outputs = 3,
     .expand = expand},
};

}  // namespace

std::span<const ContribOp> embed_layer_normalization_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
