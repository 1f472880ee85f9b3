// The paged key-value cache: blocks of positions, handed to sequences as they grow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "backend/accelerator.h"
#include "backend/device.h"

namespace lathe::runtime {

// Block b holds the same positions of one sequence in every layer. Memory is reserved at construction and
// becomes resident as blocks are first used.
class KvCache {
 public:
  // On the device, or on `accelerator` where that has memory of its own. Throws resource when `blocks` blocks for all
  // layers cannot be reserved.
  KvCache(const backend::Device& device, const std::vector<backend::KvShape>& layers, int64_t blocks,
          backend::Accelerator* accelerator = nullptr);
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  std::byte* layer(size_t index) const { return layers_[index].memory.get(); }
  const backend::KvShape& shape(size_t index) const { return layers_[index].shape; }
  int64_t free_blocks() const { return int64_t(free_.size()); }
  static size_t bytes_needed(const backend::Device& device, const std::vector<backend::KvShape>& layers,
                             int64_t blocks);

  // A sequence's blocks. grow: makes room for `length` positions; throws resource naming the numbers when the
  // cache is full, and then leaves the table as it was. shrink: gives back blocks beyond `length`.
  struct Table {
    std::vector<int32_t> blocks;
  };
  void grow(Table& table, int64_t length);
  void shrink(Table& table, int64_t length);

 private:
  struct Layer {
    backend::KvShape shape;
    std::shared_ptr<std::byte> memory;  // shared: how a device frees it is its own business
  };
  const backend::Device& device_;
  std::vector<Layer> layers_;
  std::vector<int32_t> free_;  // the next one to hand out is at the back
  int64_t total_blocks_;
};

}  // namespace lathe::runtime
