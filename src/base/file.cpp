#include "base/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/checked.h"
#include "base/error.h"

namespace lathe {
namespace {

constexpr size_t kPage = 4096;

[[noreturn]] void fail_errno(std::string_view action, const std::filesystem::path& path) {
  const int error = errno;
  fail(error_code_of(error), "cannot {} \"{}\": {}", action, path.string(), std::strerror(error));
}

// Owns a descriptor for the length of a scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string_view kind_name(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISBLK(mode)) return "a block device";
  return "no file";
}

// Opens a regular file for reading. Without O_NONBLOCK a pipe would wait for its writer before it can be refused.
int open_regular(const std::filesystem::path& path, struct stat& status) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) {
    const int error = errno;
    // What open() refuses because of what it is (a socket): say that, not "no such device or address".
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && error == ENXIO) {
      fail(ErrorCode::invalid_input, "\"{}\" is {}, expected a file", path.string(), kind_name(status.st_mode));
    }
    errno = error;
    fail_errno("open", path);
  }
  Descriptor owner(fd);
  if (::fstat(fd, &status) != 0) fail_errno("stat", path);
  if (!S_ISREG(status.st_mode)) {
    fail(ErrorCode::invalid_input, "\"{}\" is {}, expected a file", path.string(), kind_name(status.st_mode));
  }
  return owner.release();
}

// The mappings a SIGBUS may belong to. Fixed size and lock free because the signal handler reads it.
struct MappingSlot {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> faulted{false};
  std::array<char, 512> name{};  // the path, or its beginning: of the file
};
std::array<MappingSlot, 512> mapping_slots;
std::atomic<bool> any_fault{false};

void register_mapping(const std::byte* data, size_t size, const std::filesystem::path& path) {
  for (MappingSlot& slot : mapping_slots) {
    uintptr_t expected = 0;
    if (slot.begin.compare_exchange_strong(expected, reinterpret_cast<uintptr_t>(data))) {
      slot.faulted = false;
      slot.name.fill(0);
      path.native().copy(slot.name.data(), slot.name.size() - 1);
      slot.end = reinterpret_cast<uintptr_t>(data) + size;
      return;
    }
  }
}

void unregister_mapping(const std::byte* data) {
  for (MappingSlot& slot : mapping_slots) {
    if (slot.begin == reinterpret_cast<uintptr_t>(data)) {
      slot.end = 0;
      slot.begin = 0;
      return;
    }
  }
}

// Only async-signal-safe calls here.
void on_sigbus(int, siginfo_t* info, void*) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (MappingSlot& slot : mapping_slots) {
    if (address >= slot.begin && address < slot.end) {
      void* page = reinterpret_cast<void*>(address / kPage * kPage);
      if (::mmap(page, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
        slot.faulted = true;
        any_fault = true;
        return;
      }
    }
  }
  ::signal(SIGBUS, SIG_DFL);  // not ours: the faulting instruction repeats and the process dies
}

constexpr std::string_view kPart = ".part";

// ".NAME.PROCESS-NUMBER.part": no two writers of one process share it.
std::filesystem::path temporary_name(const std::filesystem::path& path) {
  static std::atomic<uint64_t> number{0};
  return path.parent_path() /
         fmt::format(".{}.{}-{}{}", path.filename().string(), ::getpid(), number.fetch_add(1), kPart);
}

// The process that a temporary name of `path` was made by; 0: not such a name.
pid_t writer_of(std::string_view name, const std::filesystem::path& path) {
  const std::string begin = fmt::format(".{}.", path.filename().string());
  if (name.size() <= begin.size() + kPart.size() || !name.starts_with(begin) || !name.ends_with(kPart))
    return 0;
  name.remove_prefix(begin.size());
  name.remove_suffix(kPart.size());
  pid_t process = 0;
  uint64_t number = 0;
  const char* const end = name.data() + name.size();
  const auto [dash, status] = std::from_chars(name.data(), end, process);
  if (status != std::errc()) return 0;
  if (dash == end) return process;  // as earlier versions named them
  if (*dash != '-') return 0;
  const auto [last, number_status] = std::from_chars(dash + 1, end, number);
  return number_status == std::errc() && last == end ? process : 0;
}

// Removes what processes left that were killed while they wrote `path`. The lock is for writers that share
// the folder from another container, whose numbers mean nothing here.
void remove_abandoned(const std::filesystem::path& path) {
  std::error_code error;  // what is wrong with the folder shows when the file is created
  std::filesystem::directory_iterator entry(path.has_parent_path() ? path.parent_path() : ".", error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const pid_t process = writer_of(entry->path().filename().string(), path);
    if (process <= 0 || ::kill(process, 0) == 0 || errno != ESRCH) continue;
    const Descriptor left(::open(entry->path().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (left.get() < 0 || ::flock(left.get(), LOCK_EX | LOCK_NB) != 0) continue;
    std::error_code ignored;  // it stays for the next run
    std::filesystem::remove_all(entry->path(), ignored);
  }
}

// Appends at most `limit` bytes; true: that was all of it.
bool read_up_to(const Descriptor& file, const std::filesystem::path& path, uint64_t limit, std::string& text) {
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0) {
      if (errno == EINTR) continue;
      fail_errno("read", path);
    }
    if (got == 0) return true;
    const uint64_t room = limit - text.size();
    text.append(buffer.data(), size_t(std::min<uint64_t>(uint64_t(got), room)));
    if (uint64_t(got) > room) return false;
  }
}

void sync_parent(const std::filesystem::path& path) {
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  const Descriptor folder(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) ::fsync(folder.get());
}

}  // namespace

ErrorCode error_code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::not_found;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EAGAIN:  // of threads and processes
    case EMFILE:
    case ENFILE:
      return ErrorCode::resource;
    default:
      return ErrorCode::io;
  }
}

FileKind file_kind(const std::filesystem::path& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return FileKind::nothing;
    fail_errno("open", path);
  }
  if (S_ISREG(status.st_mode)) return FileKind::file;
  return S_ISDIR(status.st_mode) ? FileKind::folder : FileKind::other;
}

void make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) return;
  errno = error.value();
  fail_errno("create folder", path);
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  struct stat status;
  const Descriptor file(open_regular(path, status));
  const size_t size = size_t(status.st_size);
  const std::byte* data = nullptr;
  if (size > 0) {
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
    if (mapped == MAP_FAILED) fail_errno("map", path);
    data = static_cast<const std::byte*>(mapped);
    register_mapping(data, size, path);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, data, size));
}

MappedFile::MappedFile(std::filesystem::path path, const std::byte* data, size_t size)
    : path_(std::move(path)), data_(data), size_(size) {}

MappedFile::~MappedFile() {
  if (!data_) return;
  unregister_mapping(data_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::will_need(std::span<const std::byte> part) const {
  const size_t begin = size_t(part.data() - data_) / kPage * kPage;
  const size_t end = size_t(part.data() - data_) + part.size();
  ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_WILLNEED);
}

void MappedFile::drop(std::span<const std::byte> part) const {
  // Whole pages inside the part only: a page shared with a neighbour may still be in use.
  const size_t begin = align_up(size_t(part.data() - data_), kPage);
  size_t end = size_t(part.data() - data_) + part.size();
  if (end != size_) end = end / kPage * kPage;
  if (end > begin) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(std::move(path)), temporary_(temporary_name(path_)) {
  std::error_code error;
  if (std::filesystem::is_directory(path_, error)) {
    fail(ErrorCode::usage, "cannot create \"{}\": it is a folder", path_.string());
  }
  remove_abandoned(path_);
  fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_errno("create", temporary_);
  ::flock(fd_, LOCK_EX | LOCK_NB);  // see remove_abandoned; some file systems have no locks
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write_at(position_, bytes);
  position_ += bytes.size();
}

void AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), off_t(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_errno("write", path_);
    }
    bytes = bytes.subspan(size_t(written));
    offset += uint64_t(written);
  }
}

void AtomicFile::pad_to(uint64_t alignment) {
  static constexpr std::array<std::byte, kPage> kZeros{};
  uint64_t missing = align_up(position_, alignment) - position_;
  while (missing > 0) {
    const size_t part = size_t(std::min<uint64_t>(missing, kZeros.size()));
    write(std::span(kZeros).first(part));
    missing -= part;
  }
}

void AtomicFile::reserve(uint64_t bytes) {
  if (bytes == 0) return;
  const int error = ::posix_fallocate(fd_, 0, off_t(bytes));
  if (error == 0 || error == EOPNOTSUPP || error == EINVAL) return;
  errno = error;
  fail_errno(fmt::format("reserve {} bytes for", bytes), path_);
}

void AtomicFile::flush_behind(uint64_t offset, uint64_t size) {
  ::sync_file_range(fd_, off64_t(offset), off64_t(size), SYNC_FILE_RANGE_WRITE);
}

void AtomicFile::commit() {
  LATHE_CHECK(fd_ >= 0, "committed twice");
  check_mapping_faults();  // zeros of a source that shrank must not be kept under this name
  if (::fsync(fd_) != 0) fail_errno("sync", path_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_errno("rename into place", path_);
  ::close(fd_);
  fd_ = -1;
  sync_parent(path_);
}

AtomicFolder::AtomicFolder(std::filesystem::path destination, bool replace)
    : destination_(std::move(destination)), replace_(replace) {
  if (!destination_.has_filename()) destination_ = destination_.parent_path();  // "out/" -> "out"
  temporary_ = temporary_name(destination_);
  std::error_code error;
  if (std::filesystem::exists(destination_, error)) {
    if (!std::filesystem::is_directory(destination_, error)) {
      fail(ErrorCode::usage, "\"{}\" exists already and is no folder", destination_.string());
    }
    if (!replace_ && !std::filesystem::is_empty(destination_, error)) {
      fail(ErrorCode::usage, "\"{}\" exists already and is not empty", destination_.string());
    }
  }
  remove_abandoned(destination_);
  std::filesystem::remove_all(temporary_, error);
  if (!std::filesystem::create_directories(temporary_, error) || error) {
    errno = error.value();
    fail_errno("create folder", destination_);
  }
  lock_ = ::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ >= 0) ::flock(lock_, LOCK_EX | LOCK_NB);
}

AtomicFolder::~AtomicFolder() {
  if (lock_ >= 0) ::close(lock_);
  if (committed_) return;
  std::error_code ignored;  // a destructor has nobody to tell
  std::filesystem::remove_all(temporary_, ignored);
}

void AtomicFolder::commit() {
  // In one step, where the file system can: at no time is there nothing under the name.
  const bool exchanged =
      ::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, destination_.c_str(), RENAME_EXCHANGE) == 0;
  if (!exchanged) replace_in_two_steps();
  committed_ = true;
  std::error_code ignored;  // what is left is removed by the next writer of this name
  if (exchanged) std::filesystem::remove_all(temporary_, ignored);
  sync_parent(destination_);
}

void AtomicFolder::replace_in_two_steps() {
  const std::filesystem::path old = temporary_.string() + ".old";
  const bool replaces = ::rename(destination_.c_str(), old.c_str()) == 0;
  if (!replaces && errno != ENOENT) fail_errno("move aside", destination_);
  if (::rename(temporary_.c_str(), destination_.c_str()) != 0) {
    const int reason = errno;
    if (replaces && ::rename(old.c_str(), destination_.c_str()) != 0) {
      fail(ErrorCode::io, "cannot rename \"{}\" into place: {}; what was there is in \"{}\"",
           destination_.string(), std::strerror(reason), old.string());
    }
    errno = reason;
    fail_errno("rename into place", destination_);
  }
  std::error_code ignored;
  std::filesystem::remove_all(old, ignored);
}

std::string read_text_file(const std::filesystem::path& path, uint64_t limit) {
  struct stat status;
  const Descriptor file(open_regular(path, status));
  std::string text;
  if (!read_up_to(file, path, limit, text)) {
    fail(ErrorCode::invalid_input, "\"{}\" is larger than {} bytes", path.string(), limit);
  }
  return text;
}

std::string read_file_head(const std::filesystem::path& path, size_t bytes) {
  struct stat status;
  const Descriptor file(open_regular(path, status));
  std::string text;
  read_up_to(file, path, bytes, text);
  return text;
}

void write_text_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

void install_mapping_fault_handler() {
  struct sigaction action = {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

void check_mapping_faults() {
  if (!any_fault.exchange(false)) return;
  std::string names;
  for (MappingSlot& slot : mapping_slots) {
    if (slot.faulted.exchange(false)) names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", slot.name.data());
  }
  if (names.empty()) names = "a mapped file that is closed again";
  fail(ErrorCode::io, "{} became shorter while it was read; some of its data is gone", names);
}

}  // namespace lathe
