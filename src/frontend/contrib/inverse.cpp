// Inverse of square matrices, by Gauss-Jordan elimination: a dozen nodes for each row.
#include "base/error.h"
#include "frontend/contrib/parts.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

constexpr int64_t kMostRows = 64;

// The elimination of one column after the other. Rows are not swapped: each column takes the row with the largest
// element that no column before it took, and the rows are put in order at the end.
class Elimination {
 public:
  // `matrices` [.., rows, rows] with an identity beside each.
  Elimination(const Builder& b, Value matrices, int64_t rows) : b_(b), rows_(rows) {
    const Value identity = b.graph().add_constant("identity", identity_of(rows, b.graph().type(matrices).dtype));
    const Value beside = b.node("Expand", {identity, b.node("Shape", {matrices})});
    augmented_ = b.concat({matrices, beside}, -1);
    std::vector<int64_t> numbers;
    for (int64_t i = 0; i < rows; ++i) numbers.push_back(i);
    row_numbers_ = b.ints(numbers);
  }

  Value run() {
    for (int64_t column = 0; column < rows_; ++column) step(column);
    const Value order =
        b_.cast(b_.concat(taken_, -2), b_.graph().type(augmented_).dtype);  // row i has the place of row i
    return b_.node("MatMul", {order, b_.slice(augmented_, rows_, 2 * rows_, -1)});
  }

 private:
  static tensor::Tensor identity_of(int64_t rows, DType dtype) {
    tensor::Tensor identity(dtype, {rows, rows});
    for (int64_t i = 0; i < rows; ++i) tensor::set_element(identity, i * rows + i, 1);
    return identity;
  }

  void step(int64_t column) {
    const Value factors = b_.slice(augmented_, column, column + 1, -1);            // [.., rows, 1]
    Value sizes = b_.node("Squeeze", {b_.node("Abs", {factors}), b_.ints({-1})});  // [.., rows]
    if (used_) sizes = b_.node("Where", {used_, b_.scalar(-1, b_.graph().type(sizes).dtype), sizes});
    const Value pivot = b_.node("ArgMax", {sizes}, {{"axis", int64_t{-1}}, {"keepdims", int64_t{1}}});
    const Value is_pivot = b_.node("Equal", {row_numbers_, pivot});  // [.., rows]
    const Value at_pivot = b_.unsqueeze(is_pivot, {-1});             // [.., rows, 1]
    const Value zero = b_.scalar(0, b_.graph().type(augmented_).dtype);
    const Value only = b_.node("Where", {at_pivot, augmented_, zero});
    const Value row = b_.node("ReduceSum", {only, b_.ints({-2})}, {{"keepdims", int64_t{1}}});
    const Value one = b_.div(row, b_.slice(row, column, column + 1, -1));  // [.., 1, 2 rows]
    augmented_ = b_.node("Where", {at_pivot, one, b_.sub(augmented_, b_.mul(factors, one))});
    used_ = used_ ? b_.node("Or", {used_, is_pivot}) : is_pivot;
    taken_.push_back(b_.unsqueeze(is_pivot, {-2}));  // [.., 1, rows]
  }

  const Builder& b_;
  int64_t rows_;
  Value augmented_;    // [.., rows, 2 * rows]
  Value row_numbers_;  // [rows]
  Value used_;         // bool [.., rows], absent before the first step
  std::vector<Value> taken_;
};

Results expand(const ContribNode& n) {
  if (n.rank(0) < 2) n.bad_input(0, "expected matrices");
  const int64_t rows = n.number(0, -1);
  if (rows != n.number(0, -2)) fail(ErrorCode::invalid_input, "{} by {} has no inverse", n.number(0, -2), rows);
  if (rows < 1 || rows > kMostRows) {
    n.refuse_input(0, fmt::format("only matrices of up to {} rows have an expansion", kMostRows));
  }
  const DType dtype = n.dtype(0) == DType::f64 ? DType::f64 : DType::f32;
  return {n.b.cast(Elimination(n.b, n.b.cast(n.in(0), dtype), rows).run(), n.dtype(0))};
}

constexpr ContribOp kOps[] = {{.name = "Inverse", .inputs = "X", .attributes = "", .expand = expand}};

}  // namespace

std::span<const ContribOp> inverse_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
