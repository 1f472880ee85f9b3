#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/checked.h"
#include "base/hash.h"
#include "plan/engine_file.h"
#include "plan/engine_header.h"
#include "plan/manifest.h"

namespace lathe::plan {
namespace {

// A file that is changed in place; AtomicFile only makes new ones, and an engine is too large to copy.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path) : fd_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    if (fd_ < 0) fail_errno("open");
  }
  ~OpenFile() { ::close(fd_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  uint64_t size() const {
    const off_t end = ::lseek(fd_, 0, SEEK_END);
    if (end < 0) fail_errno("seek in");
    return uint64_t(end);
  }
  void write_at(uint64_t offset, std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), off_t(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail_errno("write");
      bytes.remove_prefix(size_t(written));
      offset += uint64_t(written);
    }
  }
  void sync() const {
    if (::fsync(fd_) != 0) fail_errno("sync");
  }

 private:
  [[noreturn]] static void fail_errno(std::string_view action) {
    const int error = errno;
    const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    const ErrorCode code = full ? ErrorCode::resource : error == ENOENT ? ErrorCode::not_found : ErrorCode::io;
    fail(code, "cannot {} the file: {}", action, std::strerror(error));
  }

  int fd_;
};

}  // namespace

void write_receipt(const std::filesystem::path& path, const Receipt& receipt) {
  Header header;
  {
    const auto mapped = MappedFile::open(path);
    header = with_context(path.string(), [&] { return read_header(mapped->bytes(), mapped->bytes().size()); });
  }
  if (receipt.engine_hash != header.manifest.hash) {
    fail(ErrorCode::usage, "a receipt of engine {} for engine {}", receipt.engine_hash, header.manifest.hash);
  }
  const std::string bytes = write_receipt_bytes(receipt);
  with_context(path.string(), [&] {
    const OpenFile file(path);
    header.receipt = {align_up(file.size(), kSectionAlignment), bytes.size(),
                      xxh3_128_hex(std::as_bytes(std::span(bytes)))};
    file.write_at(header.receipt.offset, bytes);
    file.sync();  // the header must not reach the disk before what it points to
    file.write_at(0, write_header(header));
    file.sync();
  });
}

}  // namespace lathe::plan
