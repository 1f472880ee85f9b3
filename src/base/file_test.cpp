#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

namespace lathe {
namespace {

namespace fs = std::filesystem;

// An empty folder of its own for each test.
class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "lathe_file_test_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<std::string> names(const fs::path& folder) const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder))
      found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }

  fs::path folder_;
};
using File = FileTest;
using Folder = FileTest;
using Mapping = FileTest;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

template <class Body>
ErrorCode code_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing thrown";
  return ErrorCode::internal;
}

TEST_F(File, AppearsWithCommitOnly) {
  const fs::path path = folder_ / "a.bin";
  AtomicFile file(path);
  file.write(bytes("hello "));
  file.write(bytes("world"));
  EXPECT_EQ(file.position(), 11u);
  EXPECT_FALSE(fs::exists(path));
  file.commit();
  EXPECT_EQ(read_text_file(path), "hello world");
  EXPECT_EQ(names(folder_), std::vector<std::string>{"a.bin"});
}

TEST_F(File, WithoutCommitTheOldFileStaysAndNothingIsLeft) {
  const fs::path path = folder_ / "a.bin";
  write_text_file(path, "old");
  {
    AtomicFile file(path);
    file.write(bytes("new and longer"));
    EXPECT_EQ(read_text_file(path), "old");
  }
  EXPECT_EQ(read_text_file(path), "old");
  EXPECT_EQ(names(folder_), std::vector<std::string>{"a.bin"});
  write_text_file(path, "new");
  EXPECT_EQ(read_text_file(path), "new");
}

TEST_F(File, AnExceptionWhileWritingLeavesNothing) {
  EXPECT_THROW(
      {
        AtomicFile file(folder_ / "b");
        file.write(bytes("part"));
        fail(ErrorCode::invalid_input, "half way");
      },
      Error);
  EXPECT_TRUE(names(folder_).empty());
}

TEST_F(File, WritesAtOffsetsAndPads) {
  const fs::path path = folder_ / "c";
  AtomicFile file(path);
  file.write(bytes("abc"));
  file.pad_to(8);
  EXPECT_EQ(file.position(), 8u);
  file.pad_to(8);  // nothing to do
  EXPECT_EQ(file.position(), 8u);
  file.write_at(1, bytes("X"));
  EXPECT_EQ(file.position(), 8u);
  file.write(bytes("end"));
  file.pad_to(10000);  // more than one page of zeros
  file.seek(8);
  file.write(bytes("E"));
  file.flush_behind(0, 4096);
  file.commit();
  std::string wanted("aXc\0\0\0\0\0End", 11);
  wanted.resize(10000);
  EXPECT_EQ(read_text_file(path), wanted);
}

TEST_F(File, MissingFolderAndFileAreNotFound) {
  EXPECT_EQ(code_of([&] { AtomicFile file(folder_ / "none" / "a"); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { read_text_file(folder_ / "none"); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { MappedFile::open(folder_ / "none"); }), ErrorCode::not_found);
  write_text_file(folder_ / "file", "x");
  EXPECT_EQ(code_of([&] { MappedFile::open(folder_ / "file" / "below"); }), ErrorCode::not_found);
}

TEST_F(File, AFolderIsNotReplacedByAFile) {
  fs::create_directory(folder_ / "taken");
  EXPECT_EQ(code_of([&] { write_text_file(folder_ / "taken", "x"); }), ErrorCode::usage);
  EXPECT_EQ(names(folder_), std::vector<std::string>{"taken"});
  EXPECT_TRUE(names(folder_ / "taken").empty());
}

TEST_F(File, HeadsAreAsLongAsAskedForOrAsTheFile) {
  write_text_file(folder_ / "t", "abcdef");
  EXPECT_EQ(read_file_head(folder_ / "t", 4), "abcd");
  EXPECT_EQ(read_file_head(folder_ / "t", 100), "abcdef");
  EXPECT_EQ(read_file_head(folder_ / "t", 0), "");
  EXPECT_EQ(code_of([&] { read_file_head(folder_ / "none", 4); }), ErrorCode::not_found);
}

TEST_F(File, KindsOfPaths) {
  write_text_file(folder_ / "f", "x");
  fs::create_symlink("f", folder_ / "link");
  fs::create_symlink("nowhere", folder_ / "dangling");
  EXPECT_EQ(file_kind(folder_), FileKind::folder);
  EXPECT_EQ(file_kind(folder_ / "f"), FileKind::file);
  EXPECT_EQ(file_kind(folder_ / "link"), FileKind::file);
  EXPECT_EQ(file_kind(folder_ / "dangling"), FileKind::nothing);
  EXPECT_EQ(file_kind(folder_ / "f" / "below"), FileKind::nothing);
  EXPECT_EQ(file_kind("/dev/null"), FileKind::other);
  EXPECT_EQ(code_of([&] { file_kind(folder_ / std::string(1000, 'n')); }), ErrorCode::io);  // too long a name
}

TEST_F(File, FoldersAreMadeWithThoseAbove) {
  make_folder(folder_ / "a" / "b" / "c");
  make_folder(folder_ / "a" / "b");  // exists
  EXPECT_EQ(file_kind(folder_ / "a/b/c"), FileKind::folder);
  write_text_file(folder_ / "f", "x");
  EXPECT_EQ(code_of([&] { make_folder(folder_ / "f" / "below"); }), ErrorCode::not_found);
  const ErrorCode taken = code_of([&] { make_folder(folder_ / "f"); });
  EXPECT_TRUE(taken == ErrorCode::not_found || taken == ErrorCode::io) << to_string(taken);
}

TEST_F(File, TwoWritersOfOneNameDoNotMeet) {
  AtomicFile first(folder_ / "a");
  AtomicFile second(folder_ / "a");
  first.write(bytes("first"));
  second.write(bytes("second, longer"));
  second.commit();
  first.commit();
  EXPECT_EQ(read_text_file(folder_ / "a"), "first");
  EXPECT_EQ(names(folder_), std::vector<std::string>{"a"});
}

TEST_F(File, ErrnosAreSortedByWhatTheUserCanDo) {
  EXPECT_EQ(error_code_of(ENOENT), ErrorCode::not_found);
  EXPECT_EQ(error_code_of(EACCES), ErrorCode::io);
  EXPECT_EQ(error_code_of(EROFS), ErrorCode::io);
  for (const int full : {ENOSPC, EDQUOT, EFBIG, ENOMEM, EMFILE}) {
    EXPECT_EQ(error_code_of(full), ErrorCode::resource);
  }
}

TEST_F(File, TextLargerThanTheLimitIsRefused) {
  const fs::path path = folder_ / "t";
  write_text_file(path, std::string(100000, 'x'));
  EXPECT_EQ(read_text_file(path).size(), 100000u);
  EXPECT_EQ(read_text_file(path, 100000).size(), 100000u);
  EXPECT_EQ(code_of([&] { read_text_file(path, 99999); }), ErrorCode::invalid_input);
}

// A file system of 1 MiB of its own.
TEST_F(File, AFullDiskIsAResourceErrorAndTheOldFileStays) {
  if (::geteuid() != 0 || ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "cannot mount a tmpfs: needs root";
  }
  struct Unmount {
    const fs::path& folder;
    ~Unmount() { ::umount(folder.c_str()); }
  } const unmount{folder_};
  const fs::path path = folder_ / "a";
  write_text_file(path, "old");
  const std::string large(size_t{2} << 20, 'x');
  EXPECT_EQ(code_of([&] { write_text_file(path, large); }), ErrorCode::resource);
  EXPECT_EQ(code_of([&] {
              AtomicFile file(path);
              file.reserve(large.size());
            }),
            ErrorCode::resource);
  EXPECT_EQ(read_text_file(path), "old");
  EXPECT_EQ(names(folder_), std::vector<std::string>{"a"});
  write_text_file(path, "fits again");  // the failed ones gave their space back
  EXPECT_EQ(read_text_file(path), "fits again");
}

TEST_F(Folder, AppearsWithCommitOnly) {
  const fs::path path = folder_ / "out";
  {
    AtomicFolder out(path);
    write_text_file(out.path() / "a", "1");
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_TRUE(names(folder_).empty());
  AtomicFolder out(path.string() + "/");  // as shells complete it
  write_text_file(out.path() / "a", "1");
  out.commit();
  EXPECT_EQ(names(path), std::vector<std::string>{"a"});
  EXPECT_EQ(names(folder_), std::vector<std::string>{"out"});
}

TEST_F(Folder, AnExistingOneIsReplacedOnRequestOnly) {
  const fs::path path = folder_ / "out";
  fs::create_directory(path);
  write_text_file(path / "old", "1");
  EXPECT_EQ(code_of([&] { AtomicFolder out(path); }), ErrorCode::usage);
  EXPECT_EQ(names(path), std::vector<std::string>{"old"});
  {
    AtomicFolder out(path, true);
    write_text_file(out.path() / "new", "2");
  }
  EXPECT_EQ(names(path), std::vector<std::string>{"old"});
  AtomicFolder out(path, true);
  write_text_file(out.path() / "new", "2");
  out.commit();
  EXPECT_EQ(names(path), std::vector<std::string>{"new"});
  EXPECT_EQ(names(folder_), std::vector<std::string>{"out"});
}

// The new folder is gone when it should take the old one's place.
TEST_F(Folder, ACommitThatFailsLeavesTheOldFolder) {
  const fs::path path = folder_ / "out";
  fs::create_directory(path);
  write_text_file(path / "old", "1");
  AtomicFolder out(path, true);
  fs::remove_all(out.path());
  EXPECT_EQ(code_of([&] { out.commit(); }), ErrorCode::not_found);
  EXPECT_EQ(names(path), std::vector<std::string>{"old"});
  EXPECT_EQ(names(folder_), std::vector<std::string>{"out"});
}

TEST_F(Folder, AFileIsNotReplacedByAFolder) {
  write_text_file(folder_ / "out", "mine");
  for (const bool replace : {false, true}) {
    EXPECT_EQ(code_of([&] { AtomicFolder out(folder_ / "out", replace); }), ErrorCode::usage);
  }
  EXPECT_EQ(read_text_file(folder_ / "out"), "mine");
}

// A child that ends at once has a number that no process has any more; 1 is always somebody's.
TEST_F(File, WhatAKilledWriterLeftIsRemoved) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const auto part = [](std::string_view name, pid_t process) {
    return fmt::format(".{}.{}-3.part", name, process);
  };
  const std::string older = fmt::format(".a.{}.part", child);  // of a version that did not count
  fs::create_directories(folder_ / older);
  fs::create_directories(folder_ / part("a", child) / "inside");
  for (const std::string& kept :
       {part("a", 1), part("b", child), std::string(".a..part"), std::string(".a.part"),
        part("a", child) + "x", std::string(".a.12c.part"),
        fmt::format(".a.{}-x.part", child), fmt::format(".a.{}-.part", child)}) {
    write_text_file(folder_ / "new", "x");
    fs::rename(folder_ / "new", folder_ / kept);
  }
  const size_t before = names(folder_).size();
  write_text_file(folder_ / "a", "x");
  EXPECT_EQ(names(folder_).size(), before - 1);  // "a" is new, its two abandoned temporaries are gone
  EXPECT_FALSE(fs::exists(folder_ / older));
  EXPECT_FALSE(fs::exists(folder_ / part("a", child)));
  EXPECT_EQ(read_text_file(folder_ / "a"), "x");
}

TEST_F(Folder, AnEmptyOneMayExist) {
  fs::create_directory(folder_ / "out");
  AtomicFolder out(folder_ / "out");
  write_text_file(out.path() / "a", "1");
  out.commit();
  EXPECT_EQ(names(folder_ / "out"), std::vector<std::string>{"a"});
}

TEST_F(Mapping, ShowsTheBytes) {
  const std::string text(10000, 'm');
  write_text_file(folder_ / "m", text);
  const auto file = MappedFile::open(folder_ / "m");
  ASSERT_EQ(file->bytes().size(), text.size());
  EXPECT_EQ(std::memcmp(file->bytes().data(), text.data(), text.size()), 0);
  EXPECT_EQ(file->path(), folder_ / "m");
  file->will_need(file->bytes().subspan(5000, 100));
  file->drop(file->bytes());
  EXPECT_EQ(file->bytes()[9999], std::byte('m'));  // comes back from the file
}

TEST_F(Mapping, AnEmptyFileIsAnEmptySpan) {
  write_text_file(folder_ / "e", "");
  EXPECT_TRUE(MappedFile::open(folder_ / "e")->bytes().empty());
}

TEST_F(Mapping, WhatIsNoFileIsRefused) {
  EXPECT_EQ(code_of([&] { MappedFile::open(folder_); }), ErrorCode::invalid_input);
  // A pipe that nobody writes to: opening it the ordinary way would wait for ever.
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  const auto refused = [](const fs::path& path, std::string_view what) {
    for (const bool mapped : {true, false}) {
      try {
        if (mapped) MappedFile::open(path);
        else read_text_file(path);
        ADD_FAILURE() << path << " was read";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::invalid_input);
        EXPECT_NE(error.message().find(what), std::string::npos) << error.message();
      }
    }
  };
  refused(folder_, "a folder");
  refused(folder_ / "pipe", "a pipe");
  refused("/dev/zero", "a character device");
}

// The file shrinks under the mapping: a read there would be SIGBUS.
TEST_F(Mapping, AShrunkFileIsAnErrorNotDeath) {
  install_mapping_fault_handler();
  EXPECT_NO_THROW(check_mapping_faults());
  const fs::path path = folder_ / "shrinks";
  write_text_file(path, std::string(5 * 4096, 'x'));
  const auto file = MappedFile::open(path);
  ASSERT_EQ(::truncate(path.c_str(), 4096), 0);
  const auto* data = reinterpret_cast<const volatile char*>(file->bytes().data());
  EXPECT_EQ(char(data[4095]), 'x');
  EXPECT_NO_THROW(check_mapping_faults());
  EXPECT_EQ(char(data[3 * 4096 + 17]), 0);
  EXPECT_EQ(code_of([] { check_mapping_faults(); }), ErrorCode::io);
  EXPECT_NO_THROW(check_mapping_faults());  // told once
  EXPECT_EQ(char(data[4 * 4096]), 0);       // each page of its own
  try {
    check_mapping_faults();
    ADD_FAILURE() << "not told";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
  }
}

TEST_F(Mapping, WhatCameOfAShrunkFileIsNotKept) {
  install_mapping_fault_handler();
  const fs::path path = folder_ / "shrinks", copy = folder_ / "copy";
  write_text_file(path, std::string(2 * 4096, 'x'));
  const auto file = MappedFile::open(path);
  ASSERT_EQ(::truncate(path.c_str(), 4096), 0);
  EXPECT_EQ(code_of([&] {
              AtomicFile out(copy);
              const auto* data = reinterpret_cast<const volatile char*>(file->bytes().data());
              EXPECT_EQ(char(data[4096]), 0);
              out.commit();
            }),
            ErrorCode::io);
  EXPECT_FALSE(fs::exists(copy));
}

// A SIGBUS that no mapping of ours explains must still end the process.
TEST_F(Mapping, ForeignFaultsAreNotHidden) {
  const fs::path path = folder_ / "foreign";
  write_text_file(path, std::string(4096, 'x'));
  EXPECT_EXIT(
      {
        install_mapping_fault_handler();
        const int fd = ::open(path.c_str(), O_RDONLY);
        const auto* data =
            static_cast<const volatile char*>(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
        if (::truncate(path.c_str(), 0) != 0) ::_exit(3);
        ::_exit(data[0]);
      },
      testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace lathe
