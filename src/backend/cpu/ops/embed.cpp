// lathe.Embed: one row of a table per token, from plain rows, block formats or packed panels.
#include <cstring>

#include "backend/bound.h"
#include "backend/cpu/layout_names.h"
#include "backend/refusals.h"
#include "base/numbers.h"
#include "tensor/encoding.h"

namespace lathe::backend {
namespace {

using plan::Instruction;
using plan::Plan;

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  if (auto reason = refuse_embed_operands(plan, instruction)) return reason;
  const plan::Constant* table = constant_of(plan, instruction, 0);
  if (table->layout != "plain") {
    if (!cpu::find_layout(table->layout)) return fmt::format("a table in layout {}", table->layout);
    return std::nullopt;
  }
  if (table->encoding != tensor::Encoding::plain) {
    if (!tensor::block_format(table->encoding).dequantise) {
      return fmt::format("a table in {}", tensor::to_string(table->encoding));
    }
    return std::nullopt;
  }
  const auto dtype = table->dtype;
  if (dtype == tensor::DType::f32 || dtype == tensor::DType::f16 || dtype == tensor::DType::bf16) return std::nullopt;
  return fmt::format("a table of {}", tensor::to_string(dtype));
}

using ReadRow = void (*)(const std::byte* table, const plan::Constant& constant, int64_t row, float* out) noexcept;

void read_panel_row(const std::byte* table, const plan::Constant& constant, int64_t row, float* out) noexcept {
  cpu::unpack_row_f32(cpu::Layout(*cpu::find_layout(constant.layout)), table, constant.dims[1], row, out);
}

void read_block_row(const std::byte* table, const plan::Constant& constant, int64_t row, float* out) noexcept {
  const tensor::BlockFormat& format = tensor::block_format(constant.encoding);
  const int64_t blocks = constant.dims[1] / format.elements;
  format.dequantise(table + row * blocks * format.bytes, blocks, out);
}

void read_f32_row(const std::byte* table, const plan::Constant& constant, int64_t row, float* out) noexcept {
  std::memcpy(out, table + row * constant.dims[1] * 4, size_t(constant.dims[1]) * 4);
}

template <float (*kWiden)(uint16_t)>
void read_half_row(const std::byte* table, const plan::Constant& constant, int64_t row, float* out) noexcept {
  const auto* values = reinterpret_cast<const uint16_t*>(table) + row * constant.dims[1];
  for (int64_t i = 0; i < constant.dims[1]; ++i) out[i] = kWiden(values[i]);
}

ReadRow reader_for(const plan::Constant& table) {
  if (table.layout != "plain") return read_panel_row;
  if (table.encoding != tensor::Encoding::plain) return read_block_row;
  if (table.dtype == tensor::DType::f16) return read_half_row<f16_to_f32>;
  if (table.dtype == tensor::DType::bf16) return read_half_row<bf16_to_f32>;
  return read_f32_row;
}

struct Prepared {
  const plan::Constant* table;
  ReadRow read;
  plan::Rows rows;
};

void prepare(Bound& bound) {
  const plan::Constant* table = constant_of(*bound.plan, *bound.instruction, 0);
  bound.prepared = std::make_shared<Prepared>(
      Prepared{table, reader_for(*table), output_buffer(*bound.plan, *bound.instruction).rows});
}

// Token ids and positions were checked against the contract by the session, the table when the engine was opened.
void run(const Bound& bound, const Step& step, TeamMember& member) noexcept {
  const auto& prepared = *static_cast<const Prepared*>(bound.prepared.get());
  const int64_t* ids = input_data<int64_t>(bound, 1);
  float* out = output_data<float>(bound);
  const auto [begin, end] = member.share(step.rows(prepared.rows));
  for (int64_t i = begin; i < end; ++i) {
    prepared.read(bound.inputs[0], *prepared.table, ids[i], out + i * prepared.table->dims[1]);
  }
}

}  // namespace

const Kernel& embed_kernel() {
  static constexpr Kernel kKernel = {.name = "cpu.embed",
                                     .op = "lathe.Embed",
                                     .refusal = refusal,
                                     .scratch_size = nullptr,
                                     .prepare = prepare,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend
