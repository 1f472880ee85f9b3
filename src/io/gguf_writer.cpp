#include "io/gguf_writer.h"

#include <algorithm>

#include "base/checked.h"
#include "io/gguf_types.h"

namespace lathe::io {
namespace {

template <class T>
void append_number(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

GgufWriter::GgufWriter(uint32_t alignment) : alignment_(alignment) {
  LATHE_CHECK(alignment != 0 && (alignment & (alignment - 1)) == 0, "alignment {}", alignment);
  if (alignment != 32) set("general.alignment", alignment);
}

void GgufWriter::begin(std::string_view key) {
  if (std::find(keys_.begin(), keys_.end(), key) != keys_.end()) {
    fail(ErrorCode::invalid_input, "key \"{}\" is set twice", key);
  }
  keys_.emplace_back(key);
  append_string(key);
}

void GgufWriter::append(const void* data, size_t size) {
  metadata_.append(static_cast<const char*>(data), size);
}

void GgufWriter::append_string(std::string_view text) {
  append_value(uint64_t(text.size()));
  append(text.data(), text.size());
}

void GgufWriter::write(const std::filesystem::path& path, std::span<const NamedSource> tensors) const {
  std::string head = "GGUF";
  append_number(head, uint32_t{3});
  append_number(head, uint64_t(tensors.size()));
  append_number(head, uint64_t(keys_.size()));
  head += metadata_;
  uint64_t offset = 0;
  for (const NamedSource& tensor : tensors) {
    const tensor::Source& source = *tensor.source;
    const tensor::Dims& dims = source.dims();
    if (dims.size() > 4) {
      fail(ErrorCode::unsupported, "tensor \"{}\": GGUF has no tensors of {} dimensions", tensor.name,
           dims.size());
    }
    append_number(head, uint64_t(tensor.name.size()));
    head += tensor.name;
    append_number(head, uint32_t(dims.size()));
    for (auto dim = dims.rbegin(); dim != dims.rend(); ++dim) append_number(head, uint64_t(*dim));
    append_number(
        head, with_context(tensor.name, [&] { return gguf_type_number(source.dtype(), source.encoding()); }));
    append_number(head, offset);
    offset = align_up<uint64_t>(offset + source.byte_size(), alignment_);
  }
  AtomicFile file(path);
  file.reserve(align_up<uint64_t>(head.size(), alignment_) + offset);
  file.write(std::as_bytes(std::span(head)));
  file.pad_to(alignment_);
  for (const NamedSource& tensor : tensors) {
    write_rows(file, *tensor.source);
    file.pad_to(alignment_);
  }
  file.commit();
}

}  // namespace lathe::io
