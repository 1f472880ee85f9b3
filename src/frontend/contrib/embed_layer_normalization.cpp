// EmbedLayerNormalization: the sum of three embeddings, normalised; with tables in floats and in 8 bits.
#include "frontend/contrib/parts.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

// LayerNormalization(word[input_ids] + position[position_ids] + segment[segment_ids]); without ids 0, 1, .. hold.
struct Embedding {
  Value ids;           // i32 [batch, sequence]
  Value mask;          // i32 [batch, sequence], may be absent
  Value position_ids;  // [batch or 1, sequence], may be absent
  Value words;         // [batch, sequence, hidden]
  Value segments;      // the same, may be absent
  Value gamma, beta;   // [hidden]
};

// How many ones each row of the mask has, i32 [batch]; 0 without a mask.
Value mask_index(const Builder& b, const Embedding& from) {
  const Value zero = b.scalar(0, DType::i32);
  if (!from.mask) {
    return b.node("Expand", {zero, b.node("Shape", {from.ids}, {{"start", int64_t{0}}, {"end", int64_t{1}}})});
  }
  const Value ones = b.cast(b.node("Equal", {from.mask, b.scalar(1, DType::i32)}), DType::i32);
  return b.node("ReduceSum", {ones, b.ints({1})}, {{"keepdims", int64_t{0}}});
}

// The normalised sum, the mask's index and the sum. `position_rows(ids)` takes rows of the table of positions.
template <class Rows>
Results embed(const ContribNode& n, const Embedding& from, Rows&& position_rows) {
  const Builder& b = n.b;
  n.require_rank(0, {2});
  const Value positions =
      from.position_ids ? from.position_ids : b.unsqueeze(count_up(b, length_of(b, from.ids, 1)), {0});  // [1, seq]
  Value sum = b.add(from.words, position_rows(positions));
  if (from.segments) sum = b.add(sum, from.segments);
  const Value y = b.node("LayerNormalization", {sum, from.gamma, from.beta},
                         {{"axis", int64_t{-1}}, {"epsilon", n.get_float("epsilon", 1e-12)}});
  return {y, n.wants(1) ? mask_index(b, from) : Value(), sum};
}

Results expand(const ContribNode& n) {
  enum Input : size_t { kIds, kSegments, kWords, kPositions, kSegmentTable, kGamma, kBeta, kMask, kPositionIds };
  if (n.has(kSegments) != n.has(kSegmentTable)) n.bad_input(kSegments, "it goes together with segment_embedding");
  const auto rows = [&](size_t table, Value ids) { return n.b.node("Gather", {n.in(table), ids}); };
  const Embedding from{.ids = n.in(kIds),
                       .mask = n.in(kMask),
                       .position_ids = n.in(kPositionIds),
                       .words = rows(kWords, n.in(kIds)),
                       .segments = n.has(kSegments) ? rows(kSegmentTable, n.in(kSegments)) : Value(),
                       .gamma = n.in(kGamma),
                       .beta = n.in(kBeta)};
  return embed(n, from, [&](Value ids) { return rows(kPositions, ids); });
}

// The same of tables, gamma and beta in 8 bits.
Results expand_quantized(const ContribNode& n) {
  enum Input : size_t { kIds, kSegments, kWords, kPositions, kSegmentTable, kGamma, kBeta, kMask };
  constexpr size_t kToScale = 6;  // inputs from a table to its scale: tables 2 to 6, scales 8 to 12
  constexpr size_t kToZero = 11;  // and to its zero point
  if (n.has(kSegments) != n.has(kSegmentTable)) n.bad_input(kSegments, "it goes together with segment_embedding");
  const auto real = [&](size_t table, Value values) {
    return n.b.node("DequantizeLinear", {values, n.in(table + kToScale), n.in(table + kToZero)});
  };
  const auto rows = [&](size_t table, Value ids) { return real(table, n.b.node("Gather", {n.in(table), ids})); };
  const Embedding from{.ids = n.in(kIds),
                       .mask = n.in(kMask),
                       .position_ids = {},
                       .words = rows(kWords, n.in(kIds)),
                       .segments = n.has(kSegments) ? rows(kSegmentTable, n.in(kSegments)) : Value(),
                       .gamma = real(kGamma, n.in(kGamma)),
                       .beta = real(kBeta, n.in(kBeta))};
  return embed(n, from, [&](Value ids) { return rows(kPositions, ids); });
}

// mask_index_type says only whether there is a mask index.
constexpr ContribOp kOps[] = {
    {.name = "EmbedLayerNormalization",
     .inputs = "input_ids segment_ids? word_embedding position_embedding segment_embedding? gamma beta mask? "
               "position_ids?",
     .attributes = "epsilon mask_index_type",
     .outputs = 3,
     .expand = expand},
    {.name = "QEmbedLayerNormalization",
     .inputs = "input_ids segment_ids? word_embedding_quant position_embedding_quant segment_embedding? gamma_quant "
               "beta_quant mask? word_embedding_scale position_embedding_scale segment_embedding_scale? gamma_scale "
               "beta_scale word_embedding_zero_point position_embedding_zero_point segment_embedding_zero_point? "
               "gamma_zero_point beta_zero_point",
     .attributes = "epsilon",
     .outputs = 2,
     .expand = expand_quantized},
};

}  // namespace

std::span<const ContribOp> embed_layer_normalization_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
