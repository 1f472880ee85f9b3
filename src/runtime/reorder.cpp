#include "runtime/reorder.h"

#include <algorithm>
#include <cstring>

#include "tensor/dtype.h"

namespace lathe::runtime {
namespace {

using backend::GraphCall;
using backend::GraphKernel;
using backend::Order;
using backend::Problem;
using backend::ProblemValue;

constexpr int64_t kBlock = 32;

// [rows, columns] to [columns, rows], for columns [begin, end), in blocks that the first cache holds.
template <class T>
void transpose(const T* from, int64_t rows, int64_t columns, int64_t begin, int64_t end, T* to) noexcept {
  for (int64_t column = begin; column < end; column += kBlock) {
    const int64_t column_end = std::min(column + kBlock, end);
    for (int64_t row = 0; row < rows; row += kBlock) {
      const int64_t row_end = std::min(row + kBlock, rows);
      for (int64_t c = column; c < column_end; ++c) {
        for (int64_t r = row; r < row_end; ++r) to[c * rows + r] = from[r * columns + c];
      }
    }
  }
}

std::optional<std::string> fit(Problem&) {
  return std::nullopt;
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  reorder(call.problem->inputs[0], call.inputs[0], call.problem->outputs[0].order, call.outputs[0], member.index(),
          member.size());
}

}  // namespace

void reorder(const ProblemValue& value, const std::byte* from, Order order, std::byte* to, int64_t share,
             int64_t shares) noexcept {
  const size_t element = size_t(tensor::bits(value.dtype) / 8);
  if (value.order == order) {
    if (share == 0) std::memcpy(to, from, value.bytes());
    return;
  }
  const int64_t batch = value.dims[0];
  int64_t positions = 1;
  for (size_t i = 2; i < value.dims.size(); ++i) positions *= value.dims[i];
  // From [channels, positions] to [positions, channels] or back, for each of the batch.
  const bool to_last = order == Order::channels_last;
  const int64_t rows = to_last ? value.dims[1] : positions;
  const int64_t columns = to_last ? positions : value.dims[1];
  const int64_t blocks = (columns + kBlock - 1) / kBlock;
  const int64_t begin = std::min(columns, blocks * share / shares * kBlock);
  const int64_t end = std::min(columns, blocks * (share + 1) / shares * kBlock);
  for (int64_t n = 0; n < batch; ++n) {
    const size_t at = size_t(n * rows * columns) * element;
    switch (element) {
      case 1:
        transpose((const uint8_t*)(from + at), rows, columns, begin, end, (uint8_t*)(to + at));
        break;
      case 2:
        transpose((const uint16_t*)(from + at), rows, columns, begin, end, (uint16_t*)(to + at));
        break;
      case 4:
        transpose((const uint32_t*)(from + at), rows, columns, begin, end, (uint32_t*)(to + at));
        break;
      case 8:
        transpose((const uint64_t*)(from + at), rows, columns, begin, end, (uint64_t*)(to + at));
        break;
      default:
        break;  // no kernel asks for another order of such values
    }
  }
}

const GraphKernel& reorder_kernel() {
  static const GraphKernel kernel = {.name = "reorder", .ops = {}, .fit = fit, .run = run};
  return kernel;
}

}  // namespace lathe::runtime
