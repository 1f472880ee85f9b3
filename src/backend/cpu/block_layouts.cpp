#include "backend/cpu/block_layouts.h"

#include <algorithm>

namespace lathe::backend::cpu {
namespace {

using plan::Instruction;
using tensor::Dims;
using tensor::DType;
using tensor::Tensor;

constexpr int64_t kPanel = 16;

bool is_codes(const Instruction& instruction, size_t input, DType, const Dims&) {
  return instruction.op == "lathe.BlockLinear" && input == 1;
}

bool is_numbers(const Instruction& instruction, size_t input, DType, const Dims&) {
  return instruction.op == "lathe.BlockLinear" && (input == 2 || input == 3);
}

uint8_t code_at(std::span<const std::byte> bytes, DType dtype, int64_t i) {
  if (is_half_byte(dtype))
    return uint8_t((unsigned(bytes[size_t(i / 2)]) >> (i % 2 * 4) & 15u) ^ unsigned(code_shift(dtype)));
  return uint8_t(unsigned(bytes[size_t(i)]) ^ unsigned(code_shift(dtype)));  // the top bit flipped: plus half the range
}

Tensor pack_codes(const Instruction&, const Tensor& plain) {
  const int64_t rows = plain.dims()[0], columns = plain.dims()[1];
  const bool halves = is_half_byte(plain.dtype());
  const int64_t panel_size = columns * kPanel / (halves ? 2 : 1);
  Tensor packed(DType::u8, {(rows + kPanel - 1) / kPanel * panel_size});
  auto* out = reinterpret_cast<uint8_t*>(packed.mutable_bytes().data());
  std::fill(out, out + packed.size(), uint8_t{0});
  const std::span<const std::byte> bytes = plain.bytes();
  for (int64_t n = 0; n < rows; ++n) {
    uint8_t* panel = out + n / kPanel * panel_size + n % kPanel;
    for (int64_t k = 0; k < columns; ++k) {
      const uint8_t code = code_at(bytes, plain.dtype(), n * columns + k);
      if (halves)
        panel[k / 2 * kPanel] |= uint8_t(code << (k % 2 * 4));
      else
        panel[k * kPanel] = code;
    }
  }
  return packed;
}

Tensor pack_numbers(const Instruction&, const Tensor& plain) {
  const int64_t rows = plain.dims()[0], blocks = plain.dims()[1];
  const int64_t panels = (rows + kPanel - 1) / kPanel;
  Tensor packed(DType::u8, {panels * blocks * kPanel * 4});
  auto* out = reinterpret_cast<float*>(packed.mutable_bytes().data());
  std::fill(out, out + panels * blocks * kPanel, 0.0f);
  const std::span<const float> numbers = plain.data<float>();
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t b = 0; b < blocks; ++b) {
      out[(n / kPanel * blocks + b) * kPanel + n % kPanel] = numbers[size_t(n * blocks + b)];
    }
  }
  return packed;
}

}  // namespace

const GraphLayout kCodePanelLayout = {kCodePanel, is_codes, pack_codes};
const GraphLayout kBlockPanelLayout = {kBlockPanel, is_numbers, pack_numbers};

}  // namespace lathe::backend::cpu
