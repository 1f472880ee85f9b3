// GPUs of NVIDIA as a device. What depends on the card is the accelerator's: plans are made without one.
#include "backend/device.h"

#include "backend/cuda/host/row_layouts.h"
#include "backend/kernel.h"
#include "base/checked.h"
#include "base/error.h"

namespace lathe::backend {
namespace cuda {

// Generated from the file names in backend/cuda/ops.
#include "backend_cuda_ops_declarations.inc"

namespace {

constexpr int64_t kKvBlock = 64;  // kPositions of kernels/paged_attention.h
constexpr std::string_view kLeast = "sm_80";

std::span<const Kernel* const> kernels() {
  static constexpr const Kernel& (*kGetters[])() = {
#include "backend_cuda_ops_entries.inc"
  };
  static const auto kTable = [] {
    std::vector<const Kernel*> table;
    for (const auto getter : kGetters) table.push_back(&getter());
    return table;
  }();
  return kTable;
}

std::vector<Capability> capabilities() {
  return {{.isa = std::string(kLeast),
           .found = true,
           .detail = "the least that kernels are compiled for; lathe doctor says what GPUs are here",
           .needed_for = "any language model on --device cuda",
           .remedy = ""}};
}

int choose_isa(std::string_view wish) {
  if (wish.empty() || wish == kLeast) return 0;
  fail(ErrorCode::usage, "isa \"{}\": those are of CPUs; kernels of device cuda are chosen by the GPU", wish);
}

// Work is launched by one thread.
std::unique_ptr<Team> make_team(int) {
  return std::make_unique<Team>(1);
}

size_t kv_block_size(const KvShape& shape) {
  const bool kept =
      shape.dtype == tensor::DType::f32 || shape.dtype == tensor::DType::f16 || shape.dtype == tensor::DType::bf16;
  if (!kept || shape.kv_heads < 1 || shape.head_dim < 1) {
    fail(ErrorCode::unsupported, "a cache of {} in {} heads of {}", tensor::to_string(shape.dtype), shape.kv_heads,
         shape.head_dim);
  }
  // [keys, values][kv_heads][positions][head_dim]; blocks begin aligned, as kernels read them.
  const size_t element = size_t(tensor::bits(shape.dtype) / 8);
  size_t bytes = checked_mul(size_t(2 * kKvBlock) * element, size_t(shape.kv_heads), "cache block");
  bytes = checked_mul(bytes, size_t(shape.head_dim), "cache block");
  return bytes;
}

}  // namespace
}  // namespace cuda

const Device& cuda_device() {
  static const Device device = {.name = "cuda",
                                .description = "NVIDIA GPUs of compute capability 8.0 or later",
                                .kv_block = cuda::kKvBlock,
                                .kernels = cuda::kernels(),
                                .layouts = cuda::device_layouts(),
                                .capabilities = cuda::capabilities,
                                .choose_isa = cuda::choose_isa,
                                .make_team = cuda::make_team,
                                .allocate = nullptr,
                                .kv_block_size = cuda::kv_block_size,
                                .widened = tensor::DType::f16,
                                .packed_tables = true};
  return device;
}

}  // namespace lathe::backend
