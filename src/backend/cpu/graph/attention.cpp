// Attention: what is new is put behind the cache, if there is one; then for each head, keys and values packed into
// panels once, then blocks of query rows times keys, softmax, times values.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/products.h"
#include "backend/cpu/tiers.h"
#include "backend/graph_order.h"

namespace lathe::backend {
namespace {

constexpr size_t kQ = 0, kK = 1, kV = 2, kMask = 3, kPastKey = 4, kPastValue = 5;
constexpr int64_t kBlockRows = 24;  // whole tiles of 6, 8 and 12 rows

// Where the rows of a head lie: [batch, heads, length, size] or [batch, length, heads * size].
struct Heads {
  int64_t heads, length, size;
  int64_t batch_stride, head_stride, row_stride;
};

struct Prepared {
  Heads q, k, v, y;  // k and v: all of them, the present ones where there is a cache
  Heads new_k, new_v;
  int64_t past = 0;
  bool has_cache = false;
  int64_t batch, repeats;  // query heads for each key head
  float scale;
  float softcap = 0;             // of scores, before masks; 0: none
  int64_t before = -1, after = -1;  // keys that a query sees before and behind its own; -1: all
  bool mask_is_bool;
  int64_t mask_strides[3] = {};  // of batch, head, query; the last axis lies row by row
  bool has_mask;
};

Heads heads_of(const tensor::Dims& dims, int64_t heads) {
  if (dims.size() == 4) return {dims[1], dims[2], dims[3], dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3]};
  const int64_t size = heads == 0 ? 0 : dims[2] / heads;
  return {heads, dims[1], size, dims[1] * dims[2], size, dims[2]};
}

// What is attended to: with a cache, the present keys.
const ProblemValue& keys_of(const Problem& problem) {
  return problem.has_input(kPastKey) ? problem.outputs[1] : problem.inputs[kK];
}

std::optional<std::string> fit(Problem& problem) {
  const op::Attributes& attributes = problem.attributes();
  for (size_t i = 0; i < 3; ++i) {
    if (!is_f32(problem.inputs[i])) return "types other than f32";
  }
  for (size_t i = kPastKey; i < problem.inputs.size(); ++i) {
    if (problem.has_input(i) && (i > kPastValue || !is_f32(problem.inputs[i])))
      return "lengths, or a cache that is not f32";
  }
  if (problem.outputs.size() != (problem.has_input(kPastKey) ? 3 : 1))
    return "other outputs than the result and the cache";
  const Heads q = heads_of(problem.inputs[kQ].dims, attributes.get_int("q_num_heads", 0));
  const Heads k = heads_of(keys_of(problem).dims, attributes.get_int("kv_num_heads", 0));
  if (k.length == 0 || q.length == 0 || q.size == 0) return "nothing to attend to";
  if (problem.has_input(kMask)) {
    const ProblemValue& mask = problem.inputs[kMask];
    if (mask.dtype != tensor::DType::boolean && !is_f32(mask)) return "a mask that is neither f32 nor bool";
    if (mask.dims.empty() || mask.dims.back() != k.length) return "a mask that is too short";
  }
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  const op::Attributes& attributes = problem.attributes();
  auto p = std::make_shared<Prepared>();
  const int64_t heads = attributes.get_int("q_num_heads", 0), kv_heads = attributes.get_int("kv_num_heads", 0);
  p->q = heads_of(problem.inputs[kQ].dims, heads);
  p->has_cache = problem.has_input(kPastKey);
  p->new_k = heads_of(problem.inputs[kK].dims, kv_heads);
  p->new_v = heads_of(problem.inputs[kV].dims, kv_heads);
  p->past = p->has_cache ? problem.inputs[kPastKey].dims[2] : 0;
  p->k = p->has_cache ? heads_of(problem.outputs[1].dims, kv_heads) : p->new_k;
  p->v = p->has_cache ? heads_of(problem.outputs[2].dims, kv_heads) : p->new_v;
  p->y = heads_of(problem.outputs[0].dims, heads);
  p->batch = problem.inputs[kQ].dims[0];
  p->repeats = p->q.heads / p->k.heads;
  p->scale = float(attributes.get_float("scale", 1 / std::sqrt(double(p->q.size))));
  p->softcap = float(attributes.get_float("softcap", 0));
  p->before = attributes.get_int("left_window_size", -1);
  p->after = attributes.get_int("is_causal", 0) != 0 ? 0 : attributes.get_int("right_window_size", -1);
  p->has_mask = problem.has_input(kMask);
  if (p->has_mask) {
    const ProblemValue& mask = problem.inputs[kMask];
    p->mask_is_bool = mask.dtype == tensor::DType::boolean;
    const std::vector<int64_t> strides = strides_of(mask.dims, Order::plain);
    for (size_t i = 0; i < 3; ++i) {  // from the last but one
      if (mask.dims.size() >= i + 2) p->mask_strides[2 - i] = strides[mask.dims.size() - 2 - i];
    }
  }
  return p;
}

struct Memory {
  float* keys;
  float* values;
  float* scores;
  float* sums;
};
int64_t keys_floats(const Prepared& p) { return cpu::packed_floats(p.k.size, p.k.length); }
int64_t values_floats(const Prepared& p) { return cpu::packed_floats(p.v.length, p.v.size); }
// Rows of scores are whole panels; what lies behind the last key is never read.
int64_t padded(int64_t keys) { return (keys + 15) / 16 * 16; }
int64_t scores_floats(const Prepared& p) { return kBlockRows * padded(p.k.length); }
int64_t member_floats(const Prepared& p) {
  return keys_floats(p) + values_floats(p) + scores_floats(p) + cpu::kTileFloats;
}

size_t scratch_size(const Problem& problem) {
  const auto p = prepare(problem);
  return size_t(member_floats(*static_cast<const Prepared*>(p.get())) * problem.threads) * sizeof(float);
}

void mask_row(const GraphCall& call, const Prepared& p, int64_t batch, int64_t head, int64_t query,
              float* row) noexcept {
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  const int64_t own = p.past + query;  // where this query stands among the keys, or behind them
  if (p.before >= 0) std::fill(row, row + std::clamp<int64_t>(own - p.before, 0, p.k.length), kHidden);
  if (p.after >= 0) std::fill(row + std::min(own + p.after + 1, p.k.length), row + p.k.length, kHidden);
  if (!p.has_mask) return;
  const int64_t at = batch * p.mask_strides[0] + head * p.mask_strides[1] + query * p.mask_strides[2];
  if (p.mask_is_bool) {
    const bool* seen = call.input<bool>(kMask) + at;
    for (int64_t j = 0; j < p.k.length; ++j) {
      if (!seen[j]) row[j] = kHidden;
    }
  } else {
    cpu::channels_tier(*call.problem).add_into(call.input(kMask) + at, p.k.length, row);
  }
}

// softcap tanh(score / softcap)
void cap(const GraphCall& call, const Prepared& p, float* row) noexcept {
  const cpu::ChannelsTier& channels = cpu::channels_tier(*call.problem);
  channels.scale(1 / p.softcap, p.k.length, row);
  cpu::pointwise_tier(*call.problem).functions[int(cpu::Pointwise::tanh)]({.a = row, .a_step = 1, .b = nullptr,
                                                                           .b_step = 0, .p = 0, .q = 0,
                                                                           .count = p.k.length, .y = row});
  channels.scale(p.softcap, p.k.length, row);
}

// Query rows [begin, end) of one head.
void attend(const GraphCall& call, const Prepared& p, const Memory& memory, int64_t batch, int64_t head, int64_t begin,
            int64_t end) noexcept {
  const cpu::ConvTier& tier = cpu::conv_tier(*call.problem);
  const cpu::ChannelsTier& channels = cpu::channels_tier(*call.problem);
  float shares[kBlockRows];
  const float* q = call.input(kQ) + batch * p.q.batch_stride + head * p.q.head_stride;
  float* y = call.output() + batch * p.y.batch_stride + head * p.y.head_stride;
  for (int64_t row = begin; row < end; row += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, end - row);
    cpu::multiply_panels(tier, {.a = q + row * p.q.row_stride, .a_stride = p.q.row_stride, .rows = rows, .k = p.q.size,
                                .n = padded(p.k.length), .panels = memory.keys, .first = 0,
                                .end = padded(p.k.length) / 16, .y = memory.scores, .y_stride = padded(p.k.length),
                                .sums = memory.sums});
    for (int64_t r = 0; r < rows; ++r) {
      float* scores = memory.scores + r * padded(p.k.length);
      if (p.softcap > 0) cap(call, p, scores);
      mask_row(call, p, batch, head, row + r, scores);
      const float largest = channels.row_max(scores, p.k.length);
      // A query that sees nothing gives 0.
      const bool blind = largest == -std::numeric_limits<float>::infinity();
      const float sum = channels.row_exp(scores, blind ? 0.0f : largest, p.k.length);
      shares[r] = blind ? 0.0f : 1 / sum;
    }
    cpu::multiply_panels(tier, {.a = memory.scores, .a_stride = padded(p.k.length), .rows = rows, .k = p.k.length,
                                .n = p.v.size, .panels = memory.values, .first = 0, .end = (p.v.size + 15) / 16,
                                .y = y + row * p.y.row_stride, .y_stride = p.y.row_stride, .sums = memory.sums});
    // Softmax divides by its sum here, where rows are short.
    for (int64_t r = 0; r < rows; ++r) channels.scale(shares[r], p.v.size, y + (row + r) * p.y.row_stride);
  }
}

// One head's rows of the cache and, behind them, the new ones.
void append(const float* past, int64_t past_rows, const float* fresh, const Heads& from, float* to) noexcept {
  if (past_rows > 0) std::memcpy(to, past, size_t(past_rows * from.size) * sizeof(float));
  for (int64_t row = 0; row < from.length; ++row) {
    std::memcpy(to + (past_rows + row) * from.size, fresh + row * from.row_stride, size_t(from.size) * sizeof(float));
  }
}

void append_all(const GraphCall& call, const Prepared& p, const TeamMember& member) noexcept {
  const auto [begin, end] = member.share(p.batch * p.k.heads);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t batch = item / p.k.heads, head = item % p.k.heads;
    append(call.input(kPastKey) + item * p.past * p.k.size, p.past,
           call.input(kK) + batch * p.new_k.batch_stride + head * p.new_k.head_stride, p.new_k,
           call.output(1) + item * p.k.length * p.k.size);
    append(call.input(kPastValue) + item * p.past * p.v.size, p.past,
           call.input(kV) + batch * p.new_v.batch_stride + head * p.new_v.head_stride, p.new_v,
           call.output(2) + item * p.v.length * p.v.size);
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  if (p.has_cache) {
    append_all(call, p, member);
    member.barrier();
  }
  const float* keys = p.has_cache ? call.output(1) : call.input(kK);
  const float* values = p.has_cache ? call.output(2) : call.input(kV);
  float* own = reinterpret_cast<float*>(call.scratch) + member_floats(p) * member.index();
  const Memory memory{own, own + keys_floats(p), own + keys_floats(p) + values_floats(p),
                      own + keys_floats(p) + values_floats(p) + scores_floats(p)};
  // Whole key heads where there are enough for all members, else everyone takes some rows of each.
  const int64_t heads = p.batch * p.k.heads;
  const bool by_heads = heads % member.size() == 0 || heads >= 8 * member.size();
  const auto [first, last] = by_heads ? member.share(heads) : TeamMember::Range{0, heads};
  const auto [begin, end] = by_heads ? TeamMember::Range{0, p.q.length} : member.share(p.q.length, kBlockRows);
  for (int64_t item = first; item < last; ++item) {
    const int64_t batch = item / p.k.heads, key_head = item % p.k.heads;
    const float* k = keys + batch * p.k.batch_stride + key_head * p.k.head_stride;
    const float* v = values + batch * p.v.batch_stride + key_head * p.v.head_stride;
    cpu::pack_columns({k, p.k.size, p.k.length, 1, p.k.row_stride}, 0, (p.k.length + 15) / 16, memory.keys);
    cpu::channels_tier(*call.problem).scale(p.scale, keys_floats(p), memory.keys);
    cpu::pack_columns({v, p.v.length, p.v.size, p.v.row_stride, 1}, 0, (p.v.size + 15) / 16, memory.values);
    for (int64_t i = 0; i < p.repeats; ++i) attend(call, p, memory, batch, key_head * p.repeats + i, begin, end);
  }
}

}  // namespace

const GraphKernel& attention_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.attention",
                                     .ops = {"Attention"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
