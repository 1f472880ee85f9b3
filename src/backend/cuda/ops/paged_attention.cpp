// lathe.PagedAttention over the runtime's cache.
#include <algorithm>

#include "backend/bound.h"
#include "backend/cuda/host/accelerator.h"
#include "backend/refusals.h"
#include "base/checked.h"

namespace lathe::backend::cuda {
namespace {

using plan::Instruction;
using plan::Plan;

constexpr int64_t kKvBlock = 64, kPart = 256;  // of kernels/paged_attention.h
constexpr int64_t kMostHeadDim = 256;
// Parts of a token are kept until they are merged. Tokens beyond what fits go in a launch of their own.
constexpr int64_t kPartsBytes = int64_t{32} << 20;

struct Sizes {
  int64_t heads, kv_heads, head_dim;
  explicit Sizes(const Instruction& instruction)
      : heads(instruction.attributes.get_int("num_heads", 0)),
        kv_heads(instruction.attributes.get_int("kv_heads", 0)),
        head_dim(instruction.attributes.get_int("head_dim", 0)) {}
  int64_t row() const { return (heads + 2 * kv_heads) * head_dim; }
  int64_t part_bytes() const { return heads * (head_dim + 2) * int64_t(sizeof(float)); }  // of a token
  // Tokens of a launch whose longest sequence has so many parts.
  int64_t tokens_at_once(int64_t parts) const {
    return std::max<int64_t>(1, kPartsBytes / checked_mul(part_bytes(), parts, "attention scratch"));
  }
};

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  if (auto reason = refuse_attention_operands(plan, instruction, kKvBlock)) return reason;
  const Sizes sizes(instruction);
  if (sizes.head_dim > kMostHeadDim) {
    return fmt::format("heads of {}, expected {} at the most", sizes.head_dim, kMostHeadDim);
  }
  return std::nullopt;
}

int64_t queries_bytes(const Sizes& sizes, int64_t tokens) {
  const int64_t bytes = checked_mul(sizes.heads * sizes.head_dim * int64_t(sizeof(float)), tokens, "attention scratch");
  return align_up<int64_t>(bytes, 256);
}

// Fewer parts than the longest context has let more tokens go at once, in no more than kPartsBytes.
int64_t parts_bytes(const Sizes& sizes, const Capacity& capacity) {
  const int64_t parts = ceil_div(checked_mul(capacity.blocks_per_sequence, kKvBlock, "positions"), kPart);
  const int64_t token = checked_mul(sizes.part_bytes(), parts, "attention scratch");
  return std::max(token, std::min(kPartsBytes, checked_mul(token, capacity.tokens, "attention scratch")));
}

size_t scratch_size(const Plan&, const Instruction& instruction, const Settings&, const Capacity& capacity) {
  const Sizes sizes(instruction);
  return size_t(checked_add(queries_bytes(sizes, capacity.tokens), parts_bytes(sizes, capacity), "attention scratch"));
}

// All but what a step decides.
struct Prepared {
  Sizes sizes;
  LatheCudaPagedAttention call;
};

void prepare(Bound& bound) {
  const op::Attributes& attributes = bound.instruction->attributes;
  const Sizes sizes(*bound.instruction);
  LatheCudaPagedAttention call = {};
  call.qkv = input_data<float>(bound, kAttentionQkv);
  call.cos = input_data<float>(bound, kAttentionCos);
  call.sin = input_data<float>(bound, kAttentionSin);
  call.sequence = bound.device.sequence;
  call.position = bound.device.position;
  call.block_table = input_data<int32_t>(bound, kAttentionBlockTable);
  call.cache = bound.inputs[kAttentionState];
  call.queries = reinterpret_cast<float*>(bound.scratch);
  call.parts = reinterpret_cast<float*>(bound.scratch + queries_bytes(sizes, bound.capacity.tokens));
  call.out = output_data<float>(bound);
  call.heads = int32_t(sizes.heads);
  call.kv_heads = int32_t(sizes.kv_heads);
  call.head_dim = int32_t(sizes.head_dim);
  call.rotary_dim = int32_t(attributes.get_int("rotary_dim", 0));
  call.interleaved = attributes.get_int("interleaved", 0) != 0;
  call.blocks_per_sequence = int32_t(bound.blocks_per_sequence);
  call.format = bound.settings.kv == tensor::DType::f16    ? LATHE_CUDA_F16
                : bound.settings.kv == tensor::DType::bf16 ? LATHE_CUDA_BF16
                                                           : LATHE_CUDA_F32;
  call.scale = float(attributes.get_float("scale", 1));
  bound.prepared = std::make_shared<Prepared>(Prepared{sizes, call});
}

void run(const Bound& bound, const Step& step, TeamMember&) noexcept {
  const auto& [sizes, whole] = *static_cast<const Prepared*>(bound.prepared.get());
  const int64_t parts = ceil_div(std::max<int64_t>(step.longest, 1), kPart);
  const int64_t at_once = sizes.tokens_at_once(parts);
  for (int64_t token = 0; token < step.tokens; token += at_once) {
    LatheCudaPagedAttention call = whole;
    call.tokens = int32_t(std::min(step.tokens - token, at_once));
    call.part_count = int32_t(parts);
    call.qkv += token * sizes.row();
    if (call.cos) call.cos += token * call.rotary_dim / 2;
    if (call.sin) call.sin += token * call.rotary_dim / 2;
    call.sequence += token;
    call.position += token;
    call.out += token * sizes.heads * sizes.head_dim;
    launch(bound, &LatheCudaApi::paged_attention, call);
  }
}

}  // namespace

const Kernel& paged_attention_kernel() {
  static constexpr Kernel kKernel = {.name = "cuda.paged_attention",
                                     .op = "lathe.PagedAttention",
                                     .refusal = refusal,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend::cuda
