// Tensors as they lie in a checkpoint file: name, type, place; and how they are written one after another.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "tensor/source.h"

namespace lathe::io {

// One tensor of an opened file. `bytes` lie in the mapping of `file`, which the sources keep alive; where the
// container was parsed from memory `file` is null and the bytes are the caller's.
struct StoredTensor {
  std::string name;
  tensor::DType dtype = tensor::DType::undefined;  // f32 where the encoding is not plain
  tensor::Encoding encoding = tensor::Encoding::plain;
  tensor::Dims dims;  // row-major, last dimension fastest
  std::span<const std::byte> bytes;
  std::shared_ptr<const MappedFile> file;

  // Origin is "<file name>: <tensor name>".
  tensor::SourcePtr source() const;
};

// The tensors of a checkpoint in the order of their files, with unique names.
class TensorList {
 public:
  // Throws invalid_input when the name is taken.
  void add(StoredTensor tensor);

  size_t size() const { return tensors_.size(); }
  auto begin() const { return tensors_.begin(); }
  auto end() const { return tensors_.end(); }
  const StoredTensor& operator[](size_t index) const { return tensors_[index]; }

  const StoredTensor* find(std::string_view name) const;  // nullptr when absent
  const StoredTensor& get(std::string_view name) const;   // invalid_input when absent
  // Bytes of all tensors as stored.
  uint64_t byte_size() const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> index_;
};

// What a writer takes: a name and where the values come from.
struct NamedSource {
  std::string name;
  tensor::SourcePtr source;
};

// Appends all rows of `source` to `file` as stored, in pieces of bounded size; pages that were read and
// written are let go behind it.
void write_rows(AtomicFile& file, const tensor::Source& source);

}  // namespace lathe::io
