// How names, numbers and small tensors are spelled in graph text; what print and parse share.
#pragma once

#include <string>
#include <string_view>

#include "op/attributes.h"
#include "tensor/tensor.h"

namespace lathe::ir {

// Whether `c` may stand in a name without quotes.
bool is_name_char(char c);
// "text" with \" \\ \n \t \xNN escapes; bytes above 0x7f stay as they are.
std::string spelled_string(std::string_view text);
// The name as it is, or quoted if it holds other characters.
std::string spelled_name(std::string_view name);
// Shortest text that reads back as the same number; always tells a real from an integer ("1.0", "inf").
std::string spelled_real(double value);

// Whether elements of this type print as numbers (true), or as `hex` bytes (false).
bool has_literals(tensor::DType dtype);
// "{1, 2}" or "hex 00ff": all elements, row-major.
std::string spelled_elements(const tensor::Tensor& tensor);
// One attribute's value, any but a graph: 1, 1.0, "text", [1, 2], ints [], tensor f32[2] {1.0, 2.0}.
std::string spelled_attribute(const op::AttributeValue& value);

// Writes the element that `token` spells. Throws invalid_input when it is no such number or out of range.
void parse_element(tensor::Tensor& tensor, int64_t index, std::string_view token);
// "hex" digits to the bytes of a tensor. Throws invalid_input.
void parse_hex(tensor::Tensor& tensor, std::string_view digits);

}  // namespace lathe::ir
