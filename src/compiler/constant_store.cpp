#include "compiler/constant_store.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "tensor/load_in_place.h"

namespace lathe::compiler {
namespace {

using tensor::DType;
using tensor::Tensor;

// Bytes of constants that are in memory at a time, or one constant.
constexpr size_t kBatchBytes = size_t{32} << 20;
// Of plain constants that inference may ask for (plan::infer_types).
constexpr size_t kKeptBytes = size_t{64} << 10;
// Rows of a transposed matrix that are compared at a time.
constexpr int64_t kRows = 256;

size_t size_of(const ConstantJob& job) {
  const auto& constant = job.model->plan.constants[job.index];
  if (constant.dtype == DType::string) return 0;
  return tensor::byte_size(constant.dtype, tensor::element_count(std::span<const int64_t>(constant.dims)));
}

bool is_packed(const ConstantJob& job) {
  return job.layout && job.layout->stored();
}

// Whether b is a transposed. Both plain and of one dtype.
bool transposes(const tensor::SourcePtr& a, const tensor::SourcePtr& b) {
  const auto turned = tensor::transposed_source(b);
  if (turned->dims() != a->dims()) return false;
  std::vector<std::byte> left, right;
  for (int64_t row = 0; row < a->rows(); row += kRows) {
    const int64_t count = std::min(kRows, a->rows() - row);
    left.resize(size_t(count) * a->row_size());
    right.resize(left.size());
    a->read_rows(row, count, left);
    turned->read_rows(row, count, right);
    if (left != right) return false;
  }
  return true;
}

}  // namespace

int64_t ConstantStore::place(std::span<const std::byte> bytes) {
  const auto [it, fresh] = contents_.emplace(std::pair(xxh3_128_hex(bytes), bytes.size()), 0);
  if (fresh) {
    it->second = writer_.allocate(int64_t(bytes.size()));
    writer_.write(it->second, bytes);
  }
  return it->second;
}

void ConstantStore::place(const ConstantJob& job, const Tensor& tensor, bool packed) {
  plan::Constant& constant = job.model->plan.constants[job.index];
  if (constant.dtype == DType::string) {
    job.model->constants[job.index] = tensor;
    return;
  }
  constant.bytes = int64_t(tensor.bytes().size());
  constant.offset = place(tensor.bytes());
  if (job.layout && !packed) job.model->to_pack.push_back(job.index);
  if (!job.layout && tensor.bytes().size() <= kKeptBytes) job.model->constants[job.index] = tensor;
  const Stored stored{constant.offset, constant.bytes, packed ? constant.layout : "plain", packed ? job.variant : 0,
                      job.source};
  const auto [it, fresh] = by_source_.emplace(key_of(job.source), stored);
  if (!fresh && !packed) it->second = stored;
  if (fresh && constant.dims.size() == 2) by_name_[constant.name].push_back(key_of(job.source));
}

void ConstantStore::store(std::span<const ConstantJob> jobs, const std::function<void(uint64_t)>& done) {
  for (size_t begin = 0; begin < jobs.size();) {
    size_t end = begin, bytes = 0;
    do {
      bytes += size_of(jobs[end++]);
    } while (end < jobs.size() && bytes + size_of(jobs[end]) <= kBatchBytes);
    std::vector<Tensor> tensors(end - begin);
    team_.for_each(int64_t(tensors.size()), [&](int64_t i) {
      const ConstantJob& job = jobs[begin + size_t(i)];
      tensors[size_t(i)] =
          with_context(job.source->origin(), [&] { return is_packed(job) ? job.packed() : job.plain(); });
    });
    for (size_t i = 0; i < tensors.size(); ++i) {
      const ConstantJob& job = jobs[begin + i];
      place(job, tensors[i], is_packed(job));
      const bool whole_bytes = tensor::bits(job.source->dtype()) >= 8 && !job.source->dims().empty();
      if (whole_bytes) job.source->drop_rows(0, job.source->rows());
    }
    check_mapping_faults();
    done(bytes);
    begin = end;
  }
}

// Products keep their matrix with rows and columns changed over, under its name and ".transposed".
const ConstantStore::Stored* ConstantStore::find_transposed(const std::string& name,
                                                            const tensor::Source& source) const {
  const auto it = by_name_.find(name + ".transposed");
  if (it == by_name_.end() || source.dims().size() != 2) return nullptr;
  for (const Key& candidate : it->second) {
    const Stored& stored = by_source_.at(candidate);
    const bool same_kind = stored.source->dtype() == source.dtype() && stored.source->encoding() == source.encoding();
    // The caller's pointer is not shared here: a view of it is enough to compare.
    const tensor::SourcePtr view(tensor::SourcePtr(), &source);
    if (same_kind && transposes(view, stored.source)) return &stored;
  }
  return nullptr;
}

plan::StoredSource ConstantStore::source(const std::string& name, const tensor::SourcePtr& source) {
  plan::StoredSource result{.name = name,
                            .dtype = source->dtype(),
                            .encoding = source->encoding(),
                            .dims = source->dims(),
                            .layout = "plain",
                            .strings = {}};
  const bool plain = source->encoding() == tensor::Encoding::plain;
  if (source->dtype() == DType::string) {
    result.strings = tensor::load(*source).strings();
    return result;
  }
  const Stored* stored = nullptr;
  if (const auto it = by_source_.find(key_of(source)); plain && it != by_source_.end()) {
    stored = &it->second;
  } else if (plain && tensor::bits(source->dtype()) >= 8) {
    stored = find_transposed(name, *source);
    result.transposed = stored != nullptr;
  }
  if (stored) {
    result.offset = stored->offset;
    result.bytes = stored->bytes;
    result.layout = stored->layout;
    result.variant = stored->variant;
    return result;
  }
  if (plain) {
    const Tensor tensor = tensor::load_in_place(source);
    result.bytes = int64_t(tensor.bytes().size());
    result.offset = place(tensor.bytes());
    return result;
  }
  std::vector<std::byte> bytes(source->byte_size());
  source->read_rows(0, source->rows(), bytes);
  result.bytes = int64_t(bytes.size());
  result.offset = place(bytes);
  return result;
}

}  // namespace lathe::compiler
