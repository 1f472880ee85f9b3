// Fourier transforms as products with constant matrices.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "tensor/tensor.h"

namespace lathe::opt {

// Of ONNX's DFT along the last axis but one.
struct FourierForm {
  int64_t length;  // of the transform
  int64_t given;   // numbers of a line of x
  int64_t parts;   // 1: x is real, 2: complex
  bool inverse = false;
  bool one_sided = false;

  int64_t read() const;          // numbers of a line that count
  int64_t count() const;         // numbers of a line of the result
  int64_t result_parts() const;  // 1 or 2
};

// f32 [read parts, count result_parts], interleaved parts on both sides: the result's line is that of x times it. Each
// of the rows is multiplied with its number of `window`, which is empty or has `read` of them. Nothing where it would
// have more than 2^23 elements.
std::optional<tensor::Tensor> fourier_matrix(const FourierForm& form, std::span<const double> window = {});

}  // namespace lathe::opt
