// The zip container, as far as checkpoints use it: entries that are stored, not compressed, as views.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace lathe::io {

// The entries of an archive by name. Nothing is unpacked, so no entry can be larger than the file.
class ZipArchive {
 public:
  // Reads the directory at the end (zip64 included) and each entry's local header. Throws invalid_input for anything
  // malformed: places outside of the file, entries that overlap or come twice, headers that disagree; unsupported for
  // compressed or encrypted entries and archives in several files, naming the entry. `bytes` must outlive the result.
  static ZipArchive parse(std::span<const std::byte> bytes);
  // Whether the bytes begin as an archive with entries does.
  static bool begins_like(std::string_view head) { return head.starts_with("PK\x03\x04"); }

  const std::map<std::string, std::span<const std::byte>, std::less<>>& entries() const { return entries_; }
  // Throws invalid_input naming it where it is not there.
  std::span<const std::byte> get(std::string_view name) const;

 private:
  std::map<std::string, std::span<const std::byte>, std::less<>> entries_;
};

}  // namespace lathe::io
