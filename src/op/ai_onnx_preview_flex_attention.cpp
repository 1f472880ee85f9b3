// Attention whose scores and probabilities a graph may change: softmax(score_mod(q k^T * scale)) v.
//
// Inputs: q [batch, q_heads, q_len, head_dim], k [batch, kv_heads, kv_len, head_dim], v [batch, kv_heads, kv_len,
// v_head_dim], then what prob_mod and score_mod capture. Both graphs take and give [batch, q_heads, q_len, kv_len].
#include <cmath>

#include "op/inference.h"
#include "op/lines.h"
#include "op/products.h"
#include "op/subgraph.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

DType softmax_type(const Attributes& attributes, DType input) {
  const DType otherwise = input == DType::f64 ? DType::f64 : DType::f32;
  const DType type = DType(attributes.get_int("softmax_precision", int64_t(otherwise)));
  if (type != DType::f16 && type != DType::bf16 && type != DType::f32 && type != DType::f64) {
    fail(ErrorCode::invalid_input, "softmax_precision: element type {}", int(type));
  }
  return type;
}

// Inputs of a modifier beside the tensor that it changes.
size_t captures(const Subgraph* modifier) {
  if (!modifier) return 0;
  const size_t inputs = modifier->input_types().size();
  if (inputs == 0 || modifier->output_types().size() != 1) {
    fail(ErrorCode::invalid_input, "a modifier of {} inputs and {} outputs", inputs, modifier->output_types().size());
  }
  return inputs - 1;
}

void infer(InferContext& context) {
  const size_t wanted =
      3 + captures(context.attributes.find_graph("prob_mod")) + captures(context.attributes.find_graph("score_mod"));
  if (context.inputs.size() != wanted) bad(context, "expected {} inputs, found {}", wanted, context.inputs.size());
  for (size_t i = 0; i < 3; ++i) {
    if (!context.input(i).is_plain()) {
      context.outputs[0] = TypeInfo::unranked(context.input(0).dtype);
      return;
    }
    require(context, i, kFloat);
    require_rank(context, i, 4);
    require_same_dtype(context, 0, i);
    require_dims_agree(context, "batch", context.input(0).shape[0], context.input(i).shape[0]);
  }
  const tensor::Shape& q = context.input(0).shape;
  const tensor::Shape& k = context.input(1).shape;
  const tensor::Shape& v = context.input(2).shape;
  require_dims_agree(context, "head_dim of q and k", q[3], k[3]);
  require_dims_agree(context, "heads of k and v", k[1], v[1]);
  require_dims_agree(context, "length of k and v", k[2], v[2]);
  const auto heads = q[1].constant(), kv_heads = k[1].constant();
  if (heads && kv_heads && (*kv_heads < 1 || *heads % *kv_heads != 0)) {
    bad(context, "{} heads of q over {} of k", *heads, *kv_heads);
  }
  softmax_type(context.attributes, context.input(0).dtype);
  context.outputs[0] = {context.input(0).dtype, {q[0], q[1], q[2], v[3]}};
}

// The tensor as `modifier` changes it.
Tensor modified(const Subgraph* modifier, Tensor tensor, std::span<const Datum> captured, const RunLimits& limits) {
  if (!modifier) return tensor;
  const tensor::Dims dims = tensor.dims();
  const DType dtype = tensor.dtype();
  std::vector<Datum> inputs{std::move(tensor)};
  inputs.insert(inputs.end(), captured.begin(), captured.end());
  Tensor result = modifier->evaluate(std::move(inputs), limits)[0].tensor();
  if (result.dims() != dims || result.dtype() != dtype) {
    fail(ErrorCode::invalid_input, "a modifier made {}{} of {}{}", to_string(result.dtype()),
         tensor::to_string(std::span(result.dims())), to_string(dtype), tensor::to_string(std::span(dims)));
  }
  return result;
}

struct Sizes {
  explicit Sizes(const std::vector<Datum>& inputs)
      : batch(inputs[0].tensor().dims()[0]),
        heads(inputs[0].tensor().dims()[1]),
        q_len(inputs[0].tensor().dims()[2]),
        head_dim(inputs[0].tensor().dims()[3]),
        kv_heads(inputs[1].tensor().dims()[1]),
        kv_len(inputs[1].tensor().dims()[2]),
        v_dim(inputs[2].tensor().dims()[3]) {}

  // Which head of k and v belongs to head `index` of [batch * heads].
  int64_t kv_head(int64_t index) const { return index / heads * kv_heads + index % heads / (heads / kv_heads); }

  int64_t batch, heads, q_len, head_dim, kv_heads, kv_len, v_dim;
};

void check(const DataContext& context) {
  std::vector<TypeInfo> types;
  for (const Datum& input : context.inputs) {
    types.push_back(input.is_tensor() ? TypeInfo{input.tensor().dtype(), tensor::to_shape(input.tensor().dims())}
                                      : TypeInfo::unranked(DType::undefined));
  }
  InferContext infer_context{.op = "FlexAttention",
                             .attributes = context.attributes,
                             .inputs = {},
                             .constants = {},
                             .outputs = std::vector<TypeInfo>(1)};
  for (const TypeInfo& type : types) infer_context.inputs.push_back(&type);
  infer_context.constants.resize(types.size());
  infer(infer_context);
  if (!infer_context.outputs[0].is_plain()) fail(ErrorCode::invalid_input, "q, k and v must be tensors");
}

void evaluate(DataContext& context) {
  check(context);
  const Sizes sizes(context.inputs);
  const DType dtype = context.inputs[0].tensor().dtype();
  const DType inner = softmax_type(context.attributes, dtype);
  const double scale = context.attributes.get_float("scale", 1 / std::sqrt(double(sizes.head_dim)));
  const auto q = load<double>(context.inputs[0].tensor());
  const auto k = load<double>(context.inputs[1].tensor());
  const auto v = load<double>(context.inputs[2].tensor());
  const int64_t total_heads = sizes.batch * sizes.heads;
  const int64_t matrix = sizes.q_len * sizes.kv_len;

  const tensor::Dims score_dims{sizes.batch, sizes.heads, sizes.q_len, sizes.kv_len};
  std::vector<double> scores(size_t(tensor::element_count(std::span<const int64_t>(score_dims))));
  for (int64_t head = 0; head < total_heads; ++head) {
    multiply(q.data() + head * sizes.q_len * sizes.head_dim, sizes.head_dim, 1,
             k.data() + sizes.kv_head(head) * sizes.kv_len * sizes.head_dim, 1, sizes.head_dim, sizes.q_len,
             sizes.head_dim, sizes.kv_len, scores.data() + head * matrix);
  }
  for (double& score : scores) score *= scale;

  const Subgraph* prob_mod = context.attributes.find_graph("prob_mod");
  const Subgraph* score_mod = context.attributes.find_graph("score_mod");
  const std::span<const Datum> captured = std::span(context.inputs).subspan(3);
  Tensor tensor =
      modified(score_mod, store(inner, score_dims, scores), captured.subspan(captures(prob_mod)), context.limits);
  std::vector<double> probabilities = load<double>(tensor);
  for_each_line(score_dims, 3, [&](const Line& line, int64_t) { softmax_line(probabilities, line); });
  tensor =
      modified(prob_mod, store(inner, score_dims, probabilities), captured.first(captures(prob_mod)), context.limits);
  probabilities = load<double>(tensor);

  std::vector<double> result(size_t(total_heads * sizes.q_len * sizes.v_dim));
  for (int64_t head = 0; head < total_heads; ++head) {
    multiply(probabilities.data() + head * matrix, sizes.kv_len, 1,
             v.data() + sizes.kv_head(head) * sizes.kv_len * sizes.v_dim, sizes.v_dim, 1, sizes.q_len, sizes.kv_len,
             sizes.v_dim, result.data() + head * sizes.q_len * sizes.v_dim);
  }
  context.outputs[0] = store(dtype, {sizes.batch, sizes.heads, sizes.q_len, sizes.v_dim}, result);
}

}  // namespace

const OpDef& ai_onnx_preview_flex_attention_op() {
  static const OpDef def{.name = "ai.onnx.preview.FlexAttention",
                         .min_inputs = 3,
                         .max_inputs = kVariadic,
                         .attributes = {{"num_captures", AttributeKind::integer},
                                        {"prob_mod", AttributeKind::graph},
                                        {"scale", AttributeKind::real},
                                        {"score_mod", AttributeKind::graph},
                                        {"softmax_precision", AttributeKind::integer}},
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
