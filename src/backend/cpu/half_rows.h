// The rows that products with 16-bit weights read: as they lie, or rounded to bf16 and filled up to pairs of columns.
#pragma once

#include <cstdint>
#include <cstring>

#include "backend/cpu/tiers.h"

namespace lathe::backend::cpu {

struct HalfRows {
  HalfForm form;
  bool rounded;     // to bf16: `compute` is that
  int64_t columns;  // of a row
  int64_t pitch;    // numbers from one row to the next where they are copied

  // Whether the rows are copied: rounded, or filled up.
  bool copied() const { return rounded || pitch != columns; }
  int64_t number_bytes() const { return form == HalfForm::bf16_dot ? 2 : 4; }
  int64_t bytes(int64_t rows) const { return copied() ? (rows * pitch * number_bytes() + 63) / 64 * 64 : 0; }
};

// Rows of `columns` numbers for an instruction with the attributes `compute` and `weights`.
inline HalfRows half_rows(const Problem& problem, int64_t columns, bool filled_up) {
  const op::Attributes& attributes = problem.attributes();
  HalfRows rows{};
  rows.rounded = attributes.get_string("compute", "f32") == "bf16";
  rows.form = half_form(problem, attributes.get_string("weights", "f32"), rows.rounded);
  rows.columns = columns;
  const int64_t step = filled_up ? columns_of_step(rows.form) : 1;
  rows.pitch = (columns + step - 1) / step * step;
  // The rows of a tile are read together. Distances of powers of two put them in the same few lines of a cache, which
  // cost a third of the speed where it was measured.
  const bool tiles = rows.form == HalfForm::bf16_dot && has_tiles(isa_of(problem));
  if (tiles && filled_up && rows.pitch % 512 == 0) rows.pitch += 32;
  return rows;
}

// Rows [first, end) of x, which lie one behind the other, to `out`.
inline void copy_rows(const HalfTier& tier, const HalfRows& rows, const float* x, int64_t first, int64_t end,
                      std::byte* out) noexcept {
  if (first >= end) return;
  const bool dot = rows.form == HalfForm::bf16_dot;
  const auto copy = [&](const float* from, int64_t count, int64_t at) {
    if (dot) return tier.to_bf16(from, count, reinterpret_cast<uint16_t*>(out) + at);
    float* to = reinterpret_cast<float*>(out) + at;
    if (rows.rounded) return tier.round_bf16(from, count, to);
    std::memcpy(to, from, size_t(count) * sizeof(float));
  };
  if (rows.pitch == rows.columns)
    return copy(x + first * rows.columns, (end - first) * rows.columns, first * rows.pitch);
  for (int64_t row = first; row < end; ++row) {
    copy(x + row * rows.columns, rows.columns, row * rows.pitch);
    std::byte* rest = out + (row * rows.pitch + rows.columns) * rows.number_bytes();
    std::memset(rest, 0, size_t((rows.pitch - rows.columns) * rows.number_bytes()));
  }
}

}  // namespace lathe::backend::cpu
