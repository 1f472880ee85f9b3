// y = activation(norm(x) W' + bias) + residual on packed weights: the kernel that takes nine tenths of a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "backend/cpu/isa.h"
#include "base/team.h"
#include "tensor/source.h"

namespace lathe::backend::cpu {

// How activations are rounded before products. Sums are fp32 throughout.
enum class Compute : uint8_t {
  f32,   // not at all
  bf16,  // to bf16
  f16,   // to fp16
  // To integers in blocks of 32 columns, fp32 scale = largest magnitude / 127 or / 32767 (below 2^-120 the
  // block is 0).
  i8,
  i16,
};
std::string_view to_string(Compute compute);

// Order of packed weights. Rows are grouped in panels of 16 (the last one filled with zero rows); within a
// panel columns run in the order the kernels read. One layout serves all tiers. Values are stored in engines.
// The definition of each is in docs/engine-format.md.
enum class Layout : uint8_t {
  f32_panel = 1,   // [panel][column][16]
  f16_panel = 2,   // [panel][column][16]
  bf16_panel = 3,  // [panel][column / 2][16][2]
  q4_0_panel = 4,
  q4_1_panel = 5,
  q5_0_panel = 6,
  q8_0_panel = 7,
  q4_k_panel = 8,
  q5_k_panel = 9,
  q6_k_panel = 10,
  q5_1_panel = 11,
};
std::string_view to_string(Layout layout);
constexpr int64_t kPanelRows = 16;

// The layout that keeps weights of this kind without loss, or nullopt (the caller converts to f32 first, and
// says so).
std::optional<Layout> layout_for(tensor::DType dtype, tensor::Encoding encoding);
// What a layout stores: the inverse of layout_for.
tensor::DType stored_dtype(Layout layout);
tensor::Encoding stored_encoding(Layout layout);

// Bytes of `rows` x `columns` packed; a multiple of 64. Throws unsupported naming the numbers when columns do
// not fill blocks.
size_t packed_size(Layout layout, int64_t rows, int64_t columns);
// Packs panels [first, first + count) from `source` (a [rows, columns] matrix). out: their bytes, as they lie
// in the packed matrix. Thread safe, reads only the rows it needs.
void pack_panels(Layout layout, const tensor::Source& source, int64_t first, int64_t count,
                 std::span<std::byte> out);
size_t panel_size(Layout layout, int64_t columns);
// The exact inverse: rows [first, first + count) as they were stored in the source.
void unpack_rows(Layout layout, std::span<const std::byte> packed, int64_t rows, int64_t columns, int64_t first,
                 int64_t count, std::span<std::byte> out);
// One row as floats (embedding look-up on tied weights). out.size() == columns.
void unpack_row_f32(Layout layout, const std::byte* packed, int64_t columns, int64_t row, float* out) noexcept;

enum class Norm : uint8_t { none, rms, layer };
enum class Activation : uint8_t {
  none,
  silu_gate,  // two parts of equal rows: silu(part 0) * part 1
  gelu_gate,  // gelu(part 0) * part 1, exact gelu
  gelu_tanh_gate,
  gelu,       // exact, with erf
  gelu_tanh,
  silu,
  relu,
};

// One weight matrix; the outputs of several parts stand side by side (or are gated, see Activation).
struct LinearPart {
  const std::byte* weights;
  Layout layout;
  int64_t rows;
  const float* bias = nullptr;  // [rows] or null
};

struct LinearCall {
  const float* x;  // [tokens, columns], contiguous
  int64_t tokens;
  int64_t columns;
  Norm norm = Norm::none;
  const float* norm_scale = nullptr;  // [columns]
  const float* norm_bias = nullptr;   // [columns] or null
  float epsilon = 0;
  std::span<const LinearPart> parts;
  Activation activation = Activation::none;
  const float* residual = nullptr;  // [tokens, outputs] or null; may be y itself
  float* y;                         // [tokens, outputs]
  Compute compute = Compute::f32;
  std::byte* scratch = nullptr;  // linear_scratch_size(...) bytes, 64-byte aligned, shared by the team
};

// Scratch needed for up to `max_tokens` tokens on `threads` threads.
size_t linear_scratch_size(int64_t max_tokens, int64_t columns, int threads);

// The refusal, with names and numbers, or nullopt when the kernel takes it: which compute goes with which
// layout (i8 needs a block layout or q8; f32/bf16/f16 layouts take f32, and bf16/f16 their own), alignment of
// columns.
std::optional<std::string_view> linear_refusal(Layout layout, Compute compute, int64_t columns);

// Run by every member of a team; uses barriers inside. When it returns on a member, that member's part of y is
// written; the caller puts a barrier before y is read by others. noexcept, no allocation.
using LinearKernel = void (*)(const LinearCall&, TeamMember&) noexcept;
LinearKernel linear_kernel(Isa isa);

}  // namespace lathe::backend::cpu
