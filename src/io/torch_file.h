// What torch.save writes (.pt, .pth, .bin, .ckpt): tensors by name, as views into the file.
//
// Since version 1.6 of torch a zip archive of stored entries: X/data.pkl, X/data/KEY, X/byteorder. Before that pickles
// one after another, then the storages. Nothing in a pickle is executed (torch_pickle.h).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/stored_tensor.h"

namespace lathe::io {

struct TorchFile {
  // Of the dict that was saved and of dicts inside, by their keys with dots between; of the dict under "state_dict"
  // alone where there is one (training checkpoints). What is no tensor is left out.
  std::vector<NamedSource> tensors;
  // Texts of the dict that was saved: {"name", "my-style"}.
  std::vector<std::pair<std::string, std::string>> texts;

  static TorchFile open(const std::filesystem::path& path);
  // Over bytes in memory, which must outlive the result. `file`, if not null, is the mapping they lie in. Throws
  // invalid_input naming the tensor, opcode or global for what is malformed or none of a checkpoint's business;
  // unsupported for compressed archives, TorchScript, big-endian files, tensors that are no dense arrays.
  static TorchFile parse(std::span<const std::byte> bytes, std::shared_ptr<const MappedFile> file = nullptr);
  // Whether a file that begins so may be one.
  static bool begins_like(std::string_view head);
};

}  // namespace lathe::io
