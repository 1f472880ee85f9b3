// Rotary position embedding of [batch, heads, seq, dim] or [batch, seq, heads * dim]: pairs of the first
// rotary_embedding_dim elements of each head turn by the angle of their position.
#include "op/inference.h"
#include "op/rotation.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

void infer_rotary_embedding(InferContext& context) {
  const TypeInfo& x = require(context, 0, kF16 | kBf16 | kF32 | kF64);
  for (size_t i = 1; i < 3; ++i) {
    require_same_dtype(context, 0, i);
    require_rank(context, i, context.has_input(3) ? 2 : 3);
  }
  const size_t rank = x.shape.size();
  if (rank != 3 && rank != 4) bad(context, "expected rank 3 or 4, found {}", to_string(x));
  Dim head_dim = x.shape.back();
  if (rank == 3) {
    const int64_t heads = context.attributes.get_int("num_heads", 0);
    if (heads < 1) bad(context, "num_heads must be given for an input of rank 3");
    const auto width = head_dim.constant();
    if (width && *width % heads != 0) bad(context, "{} heads do not divide {}", heads, *width);
    head_dim = divide_exactly(head_dim, Dim(heads)).value_or(unknown_dim(context, 0));
  }
  const int64_t rotary = context.attributes.get_int("rotary_embedding_dim", 0);
  if (rotary < 0 || rotary % 2 != 0 || (head_dim.is_constant() && rotary > head_dim.value())) {
    bad(context, "rotary_embedding_dim is {}, head_dim is {}", rotary, head_dim.to_string());
  }
  if (rotary == 0 && head_dim.constant().value_or(0) % 2 != 0)
    bad(context, "head_dim {} is odd", head_dim.value());
  const Dim pairs =
      rotary ? Dim(rotary / 2) : divide_exactly(head_dim, Dim(2)).value_or(unknown_dim(context, 1));
  for (size_t i = 1; i < 3; ++i) {
    require_dims_agree(context, "pairs in the cache", pairs, context.input(i).shape.back());
    for (size_t d = 0; d < context.input(i).shape.size(); ++d) {
      require_dims_agree(context, "cos_cache and sin_cache", context.input(1).shape[d],
                         context.input(i).shape[d]);
    }
  }
  const Dim sequence = x.shape[rank == 3 ? 1 : 2];
  if (context.has_input(3)) {
    require_dtype(context, 3, tensor::DType::i64);
    require_rank(context, 3, 2);
  }
  const tensor::Shape& positions = context.input(context.has_input(3) ? 3 : 1).shape;
  require_dims_agree(context, "batch", positions[0], x.shape[0]);
  require_dims_agree(context, "sequence", positions[1], sequence);
  context.outputs[0] = {x.dtype, x.shape, std::nullopt};
}

void evaluate_rotary_embedding(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const bool packed = x.rank() == 3;
  const bool interleaved = context.attributes.get_int("interleaved", 0) != 0;
  const int64_t batch = x.dims()[0];
  const int64_t heads = packed ? context.attributes.get_int("num_heads", 0) : x.dims()[1];
  const int64_t sequence = x.dims()[packed ? 1 : 2];
  const int64_t head_dim = packed ? x.dims()[2] / heads : x.dims()[3];
  const int64_t pairs = context.inputs[1].dims().back();
  const std::vector<double> cos = load<double>(context.inputs[1]);
  const std::vector<double> sin = load<double>(context.inputs[2]);
  const int64_t table_rows = pairs == 0 ? 0 : int64_t(cos.size()) / pairs;
  std::vector<int64_t> positions;
  if (context.has_input(3)) positions = load<int64_t>(context.inputs[3]);
  std::vector<double> values = load<double>(x);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t s = 0; s < sequence && pairs > 0; ++s) {
      const int64_t row = positions.empty() ? b * sequence + s : positions[size_t(b * sequence + s)];
      if (row < 0 || row >= table_rows) {
        fail(ErrorCode::invalid_input, "RotaryEmbedding: position {} is outside of {} rows", row, table_rows);
      }
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = packed ? (b * sequence + s) * heads + h : (b * heads + h) * sequence + s;
        rotate_head(values.data() + at * head_dim, cos.data() + row * pairs, sin.data() + row * pairs, pairs,
                    interleaved);
      }
    }
  }
  context.outputs[0] = store(x.dtype(), x.dims(), values);
}

}  // namespace

const OpDef& rotary_embedding_op() {
  static const OpDef def{
      .name = "RotaryEmbedding",
      .min_inputs = 3,
      .max_inputs = 4,
      .attributes = {{"interleaved", AttributeKind::integer},
                     {"num_heads", AttributeKind::integer},
                     {"rotary_embedding_dim", AttributeKind::integer}},
      .since = 23,
      .infer = infer_rotary_embedding,
      .evaluate = evaluate_rotary_embedding,
  };
  return def;
}

}  // namespace lathe::op
