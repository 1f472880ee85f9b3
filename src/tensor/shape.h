// Shapes whose dimensions are numbers or linear expressions over named symbols.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::tensor {

// One dimension: constant + sum of coefficient * symbol, e.g. 128, `batch`, `past + 2*sequence - 1`.
// Equal expressions compare equal whatever the order they were built in; products of symbols are kept as a
// symbol of their own ("a.b", factors sorted). Every dimension prints as text that parses back.
class Dim {
 public:
  Dim(int64_t constant = 0) : constant_(constant) {}  // NOLINT: a number is a dimension
  // Any text may name a symbol. What would read as something else in a dimension or in a graph's text
  // (blanks,
  // "+*.,[]{}", quotes, a first digit or '-') is kept as ~hh, its byte in hex: "Min(8, n)" is Min(8~2c~20n).
  static Dim symbol(std::string_view name);
  // Inverse of to_string(): "past_sequence_length + sequence_length", "2*n - 1". Throws invalid_input.
  static Dim parse(std::string_view text);
  // Text that others wrote, such as ONNX's dim_param: what it says if it is an expression as above, else the
  // symbol of that name. Never a negative number; never throws.
  static Dim from_text(std::string_view text);

  bool is_constant() const { return terms_.empty(); }
  std::optional<int64_t> constant() const;
  int64_t value() const;  // of a constant dimension; throws internal otherwise
  std::string to_string() const;
  // Replaces symbols that `bindings` knows.
  Dim bind(const std::map<std::string, int64_t, std::less<>>& bindings) const;
  // Names of the symbols inside, products split into their factors.
  std::vector<std::string> symbols() const;

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  // a / b where every term divides exactly; nullopt otherwise.
  friend std::optional<Dim> divide_exactly(const Dim& a, const Dim& b);
  friend bool operator==(const Dim& a, const Dim& b) = default;

 private:
  static std::optional<Dim> find_expression(std::string_view text);
  int64_t constant_ = 0;
  std::map<std::string, int64_t, std::less<>> terms_;  // symbol -> coefficient, never 0
};

// An ordered list of dimensions; rank 0 is a scalar.
using Shape = std::vector<Dim>;
using Dims = std::vector<int64_t>;  // all numbers

Shape to_shape(std::span<const int64_t> dims);
// The numbers of a shape without symbols; nullopt if there is one.
std::optional<Dims> to_dims(const Shape& shape);
Dim element_count(const Shape& shape);
// Product of non-negative numbers. Throws invalid_input on overflow or a negative dimension.
int64_t element_count(std::span<const int64_t> dims);
std::string to_string(const Shape& shape);             // "[batch, 576]"
std::string to_string(std::span<const int64_t> dims);  // "[2, 576]"

// NumPy broadcasting. A symbol against 1 gives the symbol, against itself itself, against a number above 1
// the number (run time checks it). Throws invalid_input for numbers that do not broadcast.
Dim broadcast(const Dim& a, const Dim& b);
Shape broadcast(const Shape& a, const Shape& b);

}  // namespace lathe::tensor
