// The safetensors container: one file, or shards with an index.
//
// A file is an u64 header length, a JSON header and a data area that the tensors fill without a gap.
// Everything is checked when it is opened: header size, JSON, duplicates, dtypes, shapes against sizes,
// holes, overlaps, trailing bytes. Throws not_found, io; invalid_input for anything malformed; unsupported
// for the 6-bit dtypes.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/stored_tensor.h"

namespace lathe::io {

using SafetensorsMetadata = std::vector<std::pair<std::string, std::string>>;  // in file order

// One file. Immutable, shareable between threads.
struct SafetensorsFile {
  TensorList tensors;  // in the order of the data
  SafetensorsMetadata metadata;

  static SafetensorsFile open(const std::filesystem::path& path);
  // The same over bytes in memory, which must outlive the result. `file`, if not null, is the mapping they
  // lie in.
  static SafetensorsFile parse(std::span<const std::byte> bytes,
                               std::shared_ptr<const MappedFile> file = nullptr);
};

// The tensors of a whole checkpoint.
struct SafetensorsModel {
  TensorList tensors;
  SafetensorsMetadata metadata;              // of the first file
  std::vector<std::filesystem::path> files;  // in the order in which the index names them first

  // `path` is a .safetensors file, an index (.json), or a folder with model.safetensors, else
  // model.safetensors.index.json, else exactly one index or one .safetensors file of another name.
  // Each tensor of the index must be in the shard it is assigned to; tensors of a shard that the index leaves
  // out are taken too.
  static SafetensorsModel open(const std::filesystem::path& path);
  // Which file of a folder that is. Throws not_found.
  static std::filesystem::path find_file(const std::filesystem::path& folder);
};

// Writes one file, streaming; all or nothing. Tensors are laid out by falling element size, then by name, so
// that all data is aligned. Throws unsupported for encodings and dtypes that the format lacks.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedSource> tensors,
                       const SafetensorsMetadata& metadata = {});

}  // namespace lathe::io
