// The GGUF container (versions 2 and 3, little endian): metadata and tensors, in one file or in numbered
// splits.
//
// Everything is checked when it is opened: sizes before allocation, types, duplicates, alignment, tensors
// against the file's end and against each other. Throws not_found, io; invalid_input for anything malformed;
// unsupported for version 1, big-endian files and tensor types that no longer exist.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "io/gguf_metadata.h"
#include "io/stored_tensor.h"

namespace lathe::io {

// One file. Immutable, shareable between threads.
struct GgufFile {
  uint32_t version = 0;
  uint64_t alignment = 32;
  GgufMetadata metadata;
  TensorList tensors;
  std::shared_ptr<const MappedFile> file;  // keeps the views of `metadata` alive; null if parsed from memory

  static GgufFile open(const std::filesystem::path& path);
  // The same over bytes in memory, which must outlive the result. `file`, if not null, is the mapping they
  // lie in.
  static GgufFile parse(std::span<const std::byte> bytes, std::shared_ptr<const MappedFile> file = nullptr);
};

// A whole model: one file, or all splits of it.
struct GgufModel {
  GgufFile first;      // its metadata is the model's
  TensorList tensors;  // of all files
  std::vector<std::filesystem::path> files;

  // `path` is the file, or any of its splits "NAME-00001-of-00003.gguf"; the others lie beside it.
  static GgufModel open(const std::filesystem::path& path);
};

}  // namespace lathe::io
