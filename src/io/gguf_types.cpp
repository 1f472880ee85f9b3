#include "io/gguf_types.h"

#include <array>

#include "base/error.h"

namespace lathe::io {
namespace {

using tensor::DType;
using tensor::Encoding;

struct Row {
  uint32_t number;
  DType dtype;
  Encoding encoding;
};

constexpr std::array kTypes = std::to_array<Row>({
    {0, DType::f32, Encoding::plain},    {1, DType::f16, Encoding::plain},
    {2, DType::f32, Encoding::q4_0},     {3, DType::f32, Encoding::q4_1},
    {6, DType::f32, Encoding::q5_0},     {7, DType::f32, Encoding::q5_1},
    {8, DType::f32, Encoding::q8_0},     {9, DType::f32, Encoding::q8_1},
    {10, DType::f32, Encoding::q2_k},    {11, DType::f32, Encoding::q3_k},
    {12, DType::f32, Encoding::q4_k},    {13, DType::f32, Encoding::q5_k},
    {14, DType::f32, Encoding::q6_k},    {15, DType::f32, Encoding::q8_k},
    {16, DType::f32, Encoding::iq2_xxs}, {17, DType::f32, Encoding::iq2_xs},
    {18, DType::f32, Encoding::iq3_xxs}, {19, DType::f32, Encoding::iq1_s},
    {20, DType::f32, Encoding::iq4_nl},  {21, DType::f32, Encoding::iq3_s},
    {22, DType::f32, Encoding::iq2_s},   {23, DType::f32, Encoding::iq4_xs},
    {24, DType::i8, Encoding::plain},    {25, DType::i16, Encoding::plain},
    {26, DType::i32, Encoding::plain},   {27, DType::i64, Encoding::plain},
    {28, DType::f64, Encoding::plain},   {29, DType::f32, Encoding::iq1_m},
    {30, DType::bf16, Encoding::plain},  {34, DType::f32, Encoding::tq1_0},
    {35, DType::f32, Encoding::tq2_0},   {39, DType::f32, Encoding::mxfp4},
    {40, DType::f32, Encoding::nvfp4},   {41, DType::f32, Encoding::q1_0},
    {42, DType::f32, Encoding::q2_0},
});

}  // namespace

GgufTensorType gguf_tensor_type(uint32_t number) {
  for (const Row& row : kTypes) {
    if (row.number == number) return {row.dtype, row.encoding};
  }
  fail(ErrorCode::unsupported, "GGUF tensor type {} is not supported", number);
}

uint32_t gguf_type_number(DType dtype, Encoding encoding) {
  for (const Row& row : kTypes) {
    if (row.dtype == dtype && row.encoding == encoding) return row.number;
  }
  fail(ErrorCode::unsupported, "GGUF has no tensor type {} {}", tensor::to_string(dtype),
       tensor::to_string(encoding));
}

}  // namespace lathe::io
