#include "plan/plan.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace lathe::plan {
namespace {

constexpr std::array<std::string_view, 4> kRowsNames = {"tokens", "outputs", "sequences", "sequences_one"};
constexpr std::array<std::string_view, 4> kOperandNames = {"absent", "buffer", "constant", "state"};
constexpr std::array<std::string_view, 6> kRuntimeInputs = {kTokenIds,      kPositions,  kFirstToken,
                                                            kFirstPosition, kBlockTable, kOutputRows};

// The names stand in the order of the enum's values.
template <class E, size_t kCount>
std::string_view name_of(const std::array<std::string_view, kCount>& names, E value) {
  LATHE_CHECK(size_t(value) < kCount, "value {}", size_t(value));
  return names[size_t(value)];
}

template <class E, size_t kCount>
bool find_name(const std::array<std::string_view, kCount>& names, std::string_view text, E& value) {
  const auto it = std::find(names.begin(), names.end(), text);
  if (it == names.end()) return false;
  value = E(it - names.begin());
  return true;
}

}  // namespace

std::string_view to_string(Rows rows) {
  return name_of(kRowsNames, rows);
}
bool from_string(std::string_view text, Rows& rows) {
  return find_name(kRowsNames, text, rows);
}
std::string_view to_string(OperandKind kind) {
  return name_of(kOperandNames, kind);
}
bool from_string(std::string_view text, OperandKind& kind) {
  return find_name(kOperandNames, text, kind);
}

bool placed_by_runtime(std::string_view name) {
  return std::find(kRuntimeInputs.begin(), kRuntimeInputs.end(), name) != kRuntimeInputs.end();
}

int64_t row_bytes(const Buffer& buffer) {
  return std::max<int64_t>(buffer.columns, 1) * (tensor::bits(buffer.dtype) / 8);
}

int64_t find_buffer(const Plan& plan, std::string_view name) {
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    if (plan.buffers[i].name == name) return int64_t(i);
  }
  return -1;
}

}  // namespace lathe::plan
