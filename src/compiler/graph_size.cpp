#include "compiler/graph_size.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <tuple>

#include "base/memory.h"

namespace lathe::compiler {
namespace {

constexpr size_t kSmall = 64 << 10;  // bytes: shapes, scales and biases

// Bytes of packed constants, by what decides them. A layout that cannot say packs zeros.
class PackedSizes {
 public:
  uint64_t operator()(const ConstantJob& job) {
    const auto key = std::tuple(job.layout, job.source->dims(), job.variant);
    const auto found = sizes_.find(key);
    return found != sizes_.end() ? found->second : sizes_.emplace(key, size_of(job)).first->second;
  }

 private:
  static uint64_t size_of(const ConstantJob& job) {
    if (job.layout->size) return job.layout->size(job.source->dims(), job.variant);
    return job.layout->pack(job.instruction, tensor::Tensor(job.source->dtype(), job.source->dims())).bytes().size();
  }

  std::map<std::tuple<const backend::GraphLayout*, tensor::Dims, int64_t>, uint64_t> sizes_;
};

}  // namespace

GraphSize measure_constants(const PlannedGraph& planned) {
  GraphSize size;
  PackedSizes packed_size;
  std::vector<uint64_t> packed;  // bytes of what load_constants packs, as they are before
  for (const ConstantJob& job : planned.constants) {
    if (job.source->dtype() == tensor::DType::string) continue;
    const uint64_t plain = job.source->byte_size();
    if (!job.layout) {
      size.constant_bytes += plain;
      if (plain <= kSmall) job.model->constants[job.index] = job.plain();
      continue;
    }
    size.constant_bytes += packed_size(job);
    packed.push_back(plain);
  }
  // One by each thread at a time, at worst the largest.
  const size_t threads = std::min<size_t>(packed.size(), size_t(available_cpus()));
  std::partial_sort(packed.begin(), packed.begin() + std::ptrdiff_t(threads), packed.end(), std::greater<>());
  size.packing_bytes = std::accumulate(packed.begin(), packed.begin() + std::ptrdiff_t(threads), uint64_t{0});
  return size;
}

}  // namespace lathe::compiler
