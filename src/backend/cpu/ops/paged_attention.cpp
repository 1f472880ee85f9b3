// lathe.PagedAttention over the runtime's cache.
#include "backend/bound.h"
#include "backend/cpu/attention.h"

namespace lathe::backend {
namespace {

using plan::Instruction;
using plan::Plan;

// Inputs as the compiler lays them out; the two caches of the operator are one state.
constexpr size_t kQkv = 0, kCos = 1, kSin = 2, kFirstToken = 3, kFirstPosition = 4, kBlockTable = 5, kState = 6;

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  const plan::Operand* state = operand_of(instruction, kState);
  if (!state || state->kind != plan::OperandKind::state) return "the cache is no state";
  const bool in_place = instruction.inputs[kState + 1] == *state && instruction.outputs.size() == 3 &&
                        instruction.outputs[1] == *state && instruction.outputs[2] == *state;
  if (!in_place) return "keys and values that are not one state, changed in place";
  const plan::Buffer* qkv = buffer_of(plan, operand_of(instruction, kQkv));
  if (!qkv || qkv->rows != plan::Rows::tokens) return "queries, keys and values that are not per token";
  static constexpr std::pair<size_t, std::string_view> kTables[] = {
      {kFirstToken, plan::kFirstToken}, {kFirstPosition, plan::kFirstPosition}, {kBlockTable, plan::kBlockTable}};
  for (const auto& [input, name] : kTables) {  // what they point to is not checked again
    const plan::Buffer* table = buffer_of(plan, operand_of(instruction, input));
    if (!table || table->name != name) return fmt::format("a table other than the step's {}", name);
  }
  for (const size_t input : {kCos, kSin}) {
    if (operand_of(instruction, input) && !buffer_of(plan, operand_of(instruction, input))) {
      return "a rotary table that is no buffer";
    }
  }
  if (plan.kv_block != cpu::kKvBlock) return fmt::format("cache blocks of {} positions", plan.kv_block);
  return std::nullopt;
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
  call.qkv = input_data<float>(bound, kQkv);
  call.heads = attributes.get_int("num_heads", 0);
  call.kv = kv_shape(*bound.instruction, bound.settings.kv);
  call.scale = float(attributes.get_float("scale", 1));
  call.cos = input_data<float>(bound, kCos);
  call.sin = input_data<float>(bound, kSin);
  call.rotary_dim = attributes.get_int("rotary_dim", 0);
  call.interleaved = attributes.get_int("interleaved", 0) != 0;
  call.first_token = input_data<int32_t>(bound, kFirstToken);
  call.first_position = input_data<int32_t>(bound, kFirstPosition);
  call.block_table = input_data<int32_t>(bound, kBlockTable);
  call.blocks_per_sequence = bound.blocks_per_sequence;
  call.cache = bound.inputs[kState];
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
