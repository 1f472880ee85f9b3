// Files: read-only mappings, and writing that is all or nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lathe {

// What stands at a path, links followed. `other` is what is neither: a pipe, a socket, a device.
enum class FileKind { nothing, file, folder, other };
// Throws io where that cannot be found out, as below a folder without permission to search it.
FileKind file_kind(const std::filesystem::path& path);
// Creates the folder and those above it; one that exists is good. Throws io, resource (a full disk), not_found
// where a part of the name is no folder.
void make_folder(const std::filesystem::path& path);

// A whole file mapped read-only. Shared between the views that point into it.
// Throws not_found, io, invalid_input for what is no regular file. An empty file maps to an empty span.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  // Tells the kernel that `part` will be read soon, or is not needed any more (so that peak RSS follows
  // what is in use, not the file). `part` must lie within bytes().
  void will_need(std::span<const std::byte> part) const;
  void drop(std::span<const std::byte> part) const;

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, size_t size);
  std::filesystem::path path_;
  const std::byte* data_;
  size_t size_;
};

// A file that appears under its name only when commit() has succeeded: written to a temporary name in the
// same folder, fsynced, renamed. Without commit() the destructor removes the temporary; that of a process which
// was killed is removed by the next AtomicFile of the same name.
// Throws usage where a folder has the name, io; ENOSPC, EDQUOT and EFBIG give ErrorCode::resource.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);  // appends at position()
  void write_at(uint64_t offset, std::span<const std::byte> bytes);  // does not move position(); thread safe
  void pad_to(uint64_t alignment);  // appends zeros
  // Reserves `bytes` on disk now, so that a full disk fails before the work is done.
  void reserve(uint64_t bytes);
  void seek(uint64_t offset) { position_ = offset; }
  uint64_t position() const { return position_; }
  const std::filesystem::path& path() const { return path_; }
  // Where the bytes are until commit().
  const std::filesystem::path& temporary_path() const { return temporary_; }
  // Starts writing dirty pages in [offset, offset + size) back and drops them from memory once written.
  void flush_behind(uint64_t offset, uint64_t size);

  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int fd_ = -1;
  uint64_t position_ = 0;
};

// A folder that appears under its name only when commit() has succeeded. Files are written inside path().
// A commit() that fails leaves the old folder under its name.
// An existing destination folder is replaced only if `replace` is set or it is empty; otherwise, and for a file of
// that name, the constructor throws usage.
class AtomicFolder {
 public:
  explicit AtomicFolder(std::filesystem::path destination, bool replace = false);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  const std::filesystem::path& path() const { return temporary_; }
  void commit();

 private:
  void replace_in_two_steps();

  std::filesystem::path destination_;
  std::filesystem::path temporary_;
  bool replace_;
  bool committed_ = false;
  int lock_ = -1;
};

// Whole small file as text. Throws not_found, io; invalid_input when larger than `limit` bytes, or when it is no
// regular file (reading a pipe or a terminal could wait for ever).
std::string read_text_file(const std::filesystem::path& path, uint64_t limit = uint64_t{1} << 30);
// Its first `bytes` bytes, or all if there are fewer. Throws as read_text_file does.
std::string read_file_head(const std::filesystem::path& path, size_t bytes);
// All or nothing, through AtomicFile.
void write_text_file(const std::filesystem::path& path, std::string_view text);

// What kind of failure an errno of the file system is.
ErrorCode error_code_of(int error_number);

// From now on a read beyond the end of a mapping whose file shrank (SIGBUS) throws on this thread's next
// check instead of killing the process: the handler maps zero pages there and records the fault.
void install_mapping_fault_handler();
// Throws io naming the file if a mapping has faulted since the last call.
void check_mapping_faults();

}  // namespace lathe
