#include "frontend/low_rank_source.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::frontend {
namespace {

using tensor::DType;
using tensor::SourcePtr;

// sums[j] += the sum over i of factors[i] * rows[i * stride + j], four rows at a time.
void add_product(const float* factors, int64_t count, const float* rows, int64_t stride, int64_t columns,
                 float* __restrict sums) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4, rows += 4 * stride) {
    const float *a = rows, *b = rows + stride, *c = b + stride, *d = c + stride;
    const float fa = factors[i], fb = factors[i + 1], fc = factors[i + 2], fd = factors[i + 3];
    for (int64_t j = 0; j < columns; ++j) sums[j] += fa * a[j] + fb * b[j] + (fc * c[j] + fd * d[j]);
  }
  for (; i < count; ++i, rows += stride) {
    for (int64_t j = 0; j < columns; ++j) sums[j] += factors[i] * rows[j];
  }
}

class LowRankSource final : public tensor::Source {
 public:
  // All three are f32 matrices.
  LowRankSource(SourcePtr base, SourcePtr up, SourcePtr down, float scale)
      : Source(DType::f32, tensor::Encoding::plain, base->dims(), base->origin()),
        base_(std::move(base)),
        up_(std::move(up)),
        down_(std::move(down)),
        scale_(scale) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    read_part(first, count, 0, row_elements(), out);
  }

  void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                 std::span<std::byte> out) const override {
    if (begin == 0 && elements == row_elements()) {
      base_->read_rows(first, count, out);
    } else {
      base_->read_part(first, count, begin, elements, out);
    }
    if (out.empty()) return;
    const int64_t rank = down_->rows();
    std::vector<float> up(size_t(count * rank)), down(size_t(rank * elements));
    up_->read_rows(first, count, std::as_writable_bytes(std::span(up)));
    down_->read_part(0, rank, begin, elements, std::as_writable_bytes(std::span(down)));
    for (float& factor : up) factor *= scale_;
    auto* sums = reinterpret_cast<float*>(out.data());
    // A stretch of down that stays in the cache meets all rows.
    constexpr int64_t kColumns = 1024;
    for (int64_t column = 0; column < elements; column += kColumns) {
      const int64_t columns = std::min(kColumns, elements - column);
      for (int64_t row = 0; row < count; ++row) {
        add_product(up.data() + row * rank, rank, down.data() + column, elements, columns,
                    sums + row * elements + column);
      }
    }
  }

  void drop_rows(int64_t first, int64_t count) const override { base_->drop_rows(first, count); }

 private:
  SourcePtr base_, up_, down_;
  float scale_;
};

SourcePtr as_matrix(const SourcePtr& source, int64_t rows) {
  const int64_t columns = rows == 0 ? 0 : tensor::element_count(source->dims()) / rows;
  return tensor::converted_source(tensor::reshaped_source(source, {rows, columns}), DType::f32);
}

}  // namespace

SourcePtr low_rank_source(const SourcePtr& base, SourcePtr up, SourcePtr down, double scale) {
  const int64_t outputs = base->dims().at(0), rank = down->dims().at(0);
  SourcePtr matrix = as_matrix(base, outputs);
  up = as_matrix(up, outputs);
  down = as_matrix(down, rank);
  LATHE_CHECK(up->dims()[1] == rank && down->dims()[1] == matrix->dims()[1], "ranks {} and {}, inputs {} and {}",
              up->dims()[1], rank, down->dims()[1], matrix->dims()[1]);
  auto sum = std::make_shared<LowRankSource>(std::move(matrix), std::move(up), std::move(down), float(scale));
  return tensor::reshaped_source(std::move(sum), base->dims());
}

}  // namespace lathe::frontend
