// Arithmetic that several nodes spell out, read as the formula they stand for.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "ir/graph.h"

namespace lathe::opt {

// The number in a constant of one element of a type with arithmetic.
std::optional<double> find_number(const ir::Graph& graph, ir::Value value);
// Whether a factor that a file holds as `dtype` stands for `expected`: within 1e-6 of it, or as far as two constants of
// a narrow type are off after rounding.
bool is_close(double found, double expected, tensor::DType dtype);

// op(value, number) or op(number, value), for a commutative op.
struct WithNumber {
  ir::Value value;
  double number = 0;
};
std::optional<WithNumber> find_with_number(const ir::Graph& graph, ir::Value value, std::string_view op);

// c[0] + c[1] x + c[2] x^2 + c[3] x^3, element by element.
using Polynomial = std::array<double, 4>;
std::string to_string(const Polynomial& polynomial);  // "0.5 x + 0.1 x^3"
// `value` as a polynomial of x, where sums, products and whole powers of x and of single numbers make it up, in any
// order. The value may have a higher rank than x, where a number has.
std::optional<Polynomial> find_polynomial(const ir::Graph& graph, ir::Value value, ir::Value x);
// x^2 as Pow(x, 2) or Mul(x, x).
bool is_square(const ir::Graph& graph, ir::Value value, ir::Value x);

}  // namespace lathe::opt
