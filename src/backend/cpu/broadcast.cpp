#include "backend/cpu/broadcast.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/element_types.h"
#include "backend/graph_order.h"

namespace lathe::backend::cpu {
namespace {

// Strides of `value` for each axis of a result of that rank, by axis.
std::vector<int64_t> broadcast_strides(const ProblemValue& value, size_t rank) {
  const std::vector<int64_t> own = strides_of(value.dims, value.order);
  std::vector<int64_t> result(rank - own.size(), 0);
  result.insert(result.end(), own.begin(), own.end());
  return result;
}

template <class T>
void copy_elements(const Broadcast& broadcast, const BroadcastOperand& operand, const T* from, int64_t begin,
                   int64_t count, T* out) noexcept {
  const auto& dims = broadcast.dims;
  const size_t last = dims.size() - 1;
  int64_t index[kMaxBroadcastRank];
  int64_t rest = begin;
  int64_t offset = 0;
  for (size_t i = dims.size(); i-- > 0;) {
    index[i] = rest % dims[i];
    rest /= dims[i];
    offset += index[i] * operand.strides[i];
  }
  const int64_t stride = operand.strides[last];
  while (count > 0) {
    const int64_t run = std::min(count, dims[last] - index[last]);
    const T* source = from + offset;
    if (stride == 1) {
      std::memcpy(out, source, size_t(run) * sizeof(T));
    } else if (stride == 0) {
      std::fill(out, out + run, *source);
    } else {
      for (int64_t i = 0; i < run; ++i) out[i] = source[i * stride];
    }
    out += run;
    count -= run;
    offset -= index[last] * stride;
    index[last] = 0;
    for (size_t i = last; i-- > 0;) {
      offset += operand.strides[i];
      if (++index[i] < dims[i]) break;
      offset -= operand.strides[i] * dims[i];
      index[i] = 0;
    }
  }
}

}  // namespace

std::optional<std::string> fit_broadcast(Problem& problem) {
  ProblemValue& y = problem.outputs[0];
  if (y.dims.size() > kMaxBroadcastRank) return "more than 8 axes";
  for (const ProblemValue& input : problem.inputs) {
    if (!input.present() || input.dims != y.dims || input.known) continue;
    y.order = input.order;
    break;
  }
  for (ProblemValue& input : problem.inputs) {
    if (input.dims == y.dims || input.layout != "plain") input.order = input.known ? Order::plain : y.order;
  }
  return std::nullopt;
}

Broadcast make_broadcast(const Problem& problem) {
  Broadcast result;
  const ProblemValue& y = problem.outputs[0];
  const size_t rank = y.dims.size();
  std::vector<std::vector<int64_t>> strides;
  for (const ProblemValue& input : problem.inputs) strides.push_back(broadcast_strides(input, rank));
  strides.push_back(broadcast_strides(y, rank));
  // Axes from the outermost, each joined to the one before it where every operand walks both as one.
  std::vector<size_t> kept;
  for (const size_t axis : axes_in_order(rank, y.order)) {
    if (y.dims[axis] == 1) continue;
    const auto one_walk = [&](const auto& s) { return s[kept.back()] == s[axis] * y.dims[axis]; };
    if (!kept.empty() && std::all_of(strides.begin(), strides.end(), one_walk)) {
      result.dims.back() *= y.dims[axis];
      kept.back() = axis;
    } else {
      result.dims.push_back(y.dims[axis]);
      kept.push_back(axis);
    }
  }
  if (kept.empty()) result.dims.push_back(1);
  result.count = y.size();
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    BroadcastOperand operand;
    bool same = true, none = true;
    for (size_t k = 0; k < kept.size(); ++k) {
      operand.strides[k] = strides[i][kept[k]];
      same &= operand.strides[k] == strides.back()[kept[k]];
      none &= operand.strides[k] == 0;
    }
    operand.reading = none ? Reading::number : same ? Reading::in_place : Reading::copied;
    result.operands.push_back(operand);
  }
  return result;
}

void copy_operand(const Broadcast& broadcast, const BroadcastOperand& operand, size_t element, const std::byte* from,
                  int64_t begin, int64_t count, std::byte* out) noexcept {
  with_element(element, [&](auto zero) {
    using T = decltype(zero);
    copy_elements(broadcast, operand, reinterpret_cast<const T*>(from), begin, count, reinterpret_cast<T*>(out));
  });
}

}  // namespace lathe::backend::cpu
