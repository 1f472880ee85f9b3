#include "runtime/kv_cache.h"

#include <sys/mman.h>

#include "base/checked.h"
#include "base/error.h"

namespace lathe::runtime {

using backend::cpu::kKvBlock;
using backend::cpu::KvShape;

KvCache::KvCache(std::vector<KvShape> layers, int64_t blocks) : total_blocks_(blocks) {
  for (const KvShape& shape : layers) {
    const size_t bytes = checked_mul(backend::cpu::kv_block_size(shape), size_t(blocks), "cache");
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      for (const Layer& layer : layers_) ::munmap(layer.memory, layer.bytes);
      fail(ErrorCode::resource, "no memory for a cache layer of {} bytes", bytes);
    }
    layers_.push_back({shape, static_cast<std::byte*>(memory), bytes});
  }
  for (int64_t block = blocks; block-- > 0;) free_.push_back(int32_t(block));
}

KvCache::~KvCache() {
  for (const Layer& layer : layers_) ::munmap(layer.memory, layer.bytes);
}

size_t KvCache::bytes_needed(const std::vector<KvShape>& layers, int64_t blocks) {
  size_t bytes = 0;
  for (const KvShape& shape : layers) {
    bytes = checked_add(bytes, checked_mul(backend::cpu::kv_block_size(shape), size_t(blocks), "cache"), "cache");
  }
  return bytes;
}

void KvCache::grow(Table& table, int64_t length) {
  const int64_t wanted = ceil_div(length, kKvBlock);
  const int64_t missing = wanted - int64_t(table.blocks.size());
  if (missing > int64_t(free_.size())) {
    fail(ErrorCode::resource, "the cache is full: {} positions need {} more blocks of {}, {} of {} are free", length,
         missing, kKvBlock, free_.size(), total_blocks_);
  }
  for (int64_t i = 0; i < missing; ++i) {
    table.blocks.push_back(free_.back());
    free_.pop_back();
  }
}

void KvCache::shrink(Table& table, int64_t length) {
  const size_t wanted = size_t(ceil_div(length, kKvBlock));
  while (table.blocks.size() > wanted) {
    free_.push_back(table.blocks.back());
    table.blocks.pop_back();
  }
}

}  // namespace lathe::runtime
