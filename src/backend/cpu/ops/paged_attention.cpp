// lathe.PagedAttention over the runtime's cache.
#include "backend/bound.h"
#include "backend/cpu/attention.h"
#include "backend/refusals.h"

namespace lathe::backend {
namespace {

using plan::Instruction;
using plan::Plan;

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  return refuse_attention_operands(plan, instruction, cpu::kKvBlock);
}

KvShape kv_shape(const Instruction& instruction, tensor::DType dtype) {
  return {.dtype = dtype,
          .kv_heads = instruction.attributes.get_int("kv_heads", 0),
          .head_dim = instruction.attributes.get_int("head_dim", 0)};
}

size_t scratch_size(const Plan&, const Instruction& instruction, const Settings& settings, const Capacity& capacity) {
  return cpu::attention_scratch_size(capacity.tokens, instruction.attributes.get_int("num_heads", 0),
                                     kv_shape(instruction, settings.kv), capacity.threads);
}

struct Prepared {
  cpu::AttentionCall call;
  cpu::AttentionKernel kernel;
};

void prepare(Bound& bound) {
  const op::Attributes& attributes = bound.instruction->attributes;
  auto prepared = std::make_shared<Prepared>();
  cpu::AttentionCall& call = prepared->call;
  call.qkv = input_data<float>(bound, kAttentionQkv);
  call.heads = attributes.get_int("num_heads", 0);
  call.kv = kv_shape(*bound.instruction, bound.settings.kv);
  call.scale = float(attributes.get_float("scale", 1));
  call.cos = input_data<float>(bound, kAttentionCos);
  call.sin = input_data<float>(bound, kAttentionSin);
  call.rotary_dim = attributes.get_int("rotary_dim", 0);
  call.interleaved = attributes.get_int("interleaved", 0) != 0;
  call.first_token = input_data<int32_t>(bound, kAttentionFirstToken);
  call.first_position = input_data<int32_t>(bound, kAttentionFirstPosition);
  call.block_table = input_data<int32_t>(bound, kAttentionBlockTable);
  call.blocks_per_sequence = bound.blocks_per_sequence;
  call.cache = bound.inputs[kAttentionState];
  call.out = output_data<float>(bound);
  call.scratch = bound.scratch;
  prepared->kernel = cpu::attention_kernel(cpu::Isa(bound.settings.isa));
  bound.prepared = std::move(prepared);
}

void run(const Bound& bound, const Step& step, TeamMember& member) noexcept {
  const auto& prepared = *static_cast<const Prepared*>(bound.prepared.get());
  cpu::AttentionCall call = prepared.call;
  call.tokens = step.tokens;
  call.sequences = step.sequences;
  prepared.kernel(call, member);
}

}  // namespace

const Kernel& paged_attention_kernel() {
  static constexpr Kernel kKernel = {.name = "cpu.paged_attention",
                                     .op = "lathe.PagedAttention",
                                     .refusal = refusal,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend
