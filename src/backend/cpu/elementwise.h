// Small kernels that a step needs besides linear and attention: rotary tables, norms, activations, row scans.
#pragma once

#include <cstdint>

#include "backend/cpu/isa.h"

namespace lathe::backend::cpu {

// Out of line and without threads: a caller gives each member its share of the rows (TeamMember::share). All
// are noexcept, allocate nothing, and give the same bits for a row wherever it stands. y may be x. Any
// alignment.
struct ElementwiseKernels {
  // cos, sin [count, half]: of the float product positions[t] * inv_freq[i], times `scale`. The absolute
  // error before scaling is at most 6e-8 (half a unit in the last place near 1) for angles up to 1e9.
  void (*rotary_table)(const int32_t* positions, int64_t count, const float* inv_freq, int64_t half,
                       float scale, float* cos, float* sin) noexcept;

  void (*add)(const float* a, const float* b, int64_t count, float* y) noexcept;
  void (*mul)(const float* a, const float* b, int64_t count, float* y) noexcept;

  // y = x / sqrt(mean(x^2) + epsilon) * scale, by row. x, y: [rows, columns]; scale: [columns] or null for
  // ones.
  void (*rms_norm)(const float* x, int64_t rows, int64_t columns, const float* scale, float epsilon,
                   float* y) noexcept;
  // y = (x - mean) / sqrt(variance + epsilon) * scale + bias; scale or bias may be null.
  void (*layer_norm)(const float* x, int64_t rows, int64_t columns, const float* scale, const float* bias,
                     float epsilon, float* y) noexcept;
  // By row. A row with a NaN or with nothing above -infinity becomes NaN.
  void (*softmax)(const float* x, int64_t rows, int64_t columns, float* y) noexcept;

  void (*silu)(const float* x, int64_t count, float* y) noexcept;       // x / (1 + e^-x)
  void (*gelu)(const float* x, int64_t count, float* y) noexcept;       // x (1 + erf(x / sqrt 2)) / 2
  void (*gelu_tanh)(const float* x, int64_t count, float* y) noexcept;  // the tanh approximation of it

  // Index of the largest element, the first of equals; -1 if the row is empty or has a NaN.
  int64_t (*argmax)(const float* x, int64_t count) noexcept;
  // log(sum(e^x)), summed so that 1e5 terms keep 1e-6; -infinity for an empty row, NaN if there is one.
  double (*log_sum_exp)(const float* x, int64_t count) noexcept;
  // Index of the first infinity or NaN; -1 if all are finite.
  int64_t (*find_not_finite)(const float* x, int64_t count) noexcept;
};

const ElementwiseKernels& elementwise_kernels(Isa isa);

// out[i] = table row rows[i]. Row numbers must be in range.
void gather_rows(const float* table, int64_t columns, const int32_t* rows, int64_t count,
                 float* out) noexcept;

}  // namespace lathe::backend::cpu
