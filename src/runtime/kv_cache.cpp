#include "runtime/kv_cache.h"

#include "base/checked.h"
#include "base/error.h"

namespace lathe::runtime {

using backend::Device;
using backend::KvShape;

KvCache::KvCache(const Device& device, const std::vector<KvShape>& layers, int64_t blocks,
                 backend::Accelerator* accelerator)
    : device_(device), total_blocks_(blocks) {
  for (const KvShape& shape : layers) {
    const size_t bytes = checked_mul(device.kv_block_size(shape), size_t(blocks), "cache");
    layers_.push_back({shape, with_context("cache layer", [&] {
                         return accelerator ? accelerator->allocate(bytes) : device.allocate(bytes, false);
                       })});
  }
  for (int64_t block = blocks; block-- > 0;) free_.push_back(int32_t(block));
}

size_t KvCache::bytes_needed(const Device& device, const std::vector<KvShape>& layers, int64_t blocks) {
  size_t bytes = 0;
  for (const KvShape& shape : layers) {
    bytes = checked_add(bytes, checked_mul(device.kv_block_size(shape), size_t(blocks), "cache"), "cache");
  }
  return bytes;
}

void KvCache::grow(Table& table, int64_t length) {
  const int64_t wanted = ceil_div(length, device_.kv_block);
  const int64_t missing = wanted - int64_t(table.blocks.size());
  if (missing > int64_t(free_.size())) {
    fail(ErrorCode::resource, "the cache is full: {} positions need {} more blocks of {}, {} of {} are free", length,
         missing, device_.kv_block, free_.size(), total_blocks_);
  }
  for (int64_t i = 0; i < missing; ++i) {
    table.blocks.push_back(free_.back());
    free_.pop_back();
  }
}

void KvCache::shrink(Table& table, int64_t length) {
  const size_t wanted = size_t(ceil_div(length, device_.kv_block));
  while (table.blocks.size() > wanted) {
    free_.push_back(table.blocks.back());
    table.blocks.pop_back();
  }
}

}  // namespace lathe::runtime
