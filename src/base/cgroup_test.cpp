// Limits of control groups, read from folders that look like theirs.
#include "base/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace lathe {
namespace {

namespace fs = std::filesystem;

class Groups : public testing::Test {
 protected:
  fs::path root_ = fs::temp_directory_path() / ("lathe-cgroup-" + std::to_string(::getpid()));

  void SetUp() override { fs::create_directories(root_ / "a/b"); }
  void TearDown() override { fs::remove_all(root_); }
  void put(const fs::path& file, const std::string& text) { std::ofstream(root_ / file) << text; }
};

TEST_F(Groups, WithoutLimits) {
  EXPECT_EQ(cgroup_available_bytes(root_, "0::/a/b\n"), std::nullopt);
  put("memory.max", "max\n");
  EXPECT_EQ(cgroup_available_bytes(root_, "0::/a/b\n"), std::nullopt);
  EXPECT_EQ(cgroup_available_bytes(root_ / "nothing", ""), std::nullopt);
}

TEST_F(Groups, TheTightestOfAllLevels) {
  put("a/memory.max", "1000\n");
  put("a/memory.current", "300\n");
  put("a/b/memory.max", "900\n");
  put("a/b/memory.current", "100\n");
  EXPECT_EQ(cgroup_available_bytes(root_, "0::/a/b\n"), 700u);
  EXPECT_EQ(cgroup_available_bytes(root_, "12:cpu:/x\n0::/a\n"), 700u);
  EXPECT_EQ(cgroup_available_bytes(root_, "0::/\n"), std::nullopt);
  put("a/memory.current", "5000\n");
  EXPECT_EQ(cgroup_available_bytes(root_, "0::/a/b\n"), 0u);
}

TEST_F(Groups, PageCacheIsGivenUp) {
  put("memory.max", "1000");
  put("memory.current", "900");
  put("memory.stat", "anon 100\nfile 800\nshmem 50\nfile_dirty 30\nfile_writeback 20\n");
  EXPECT_EQ(cgroup_available_bytes(root_, "0::/\n"), 800u);  // 900 - (800 - 100) are used
}

TEST_F(Groups, TheFirstVersion) {
  fs::create_directories(root_ / "memory/c/d");
  put("memory/memory.limit_in_bytes", "9223372036854771712\n");
  put("memory/memory.usage_in_bytes", "12345\n");
  put("memory/c/memory.limit_in_bytes", "2000\n");
  put("memory/c/memory.usage_in_bytes", "1500\n");
  put("memory/c/memory.stat", "cache 1\ntotal_cache 700\ntotal_shmem 100\ntotal_dirty 50\ntotal_writeback 50\n");
  EXPECT_EQ(cgroup_available_bytes(root_, "5:cpu:/\n4:memory:/c/d\n0::/\n"), 1000u);  // 1500 - (700 - 200) are used
}

}  // namespace
}  // namespace lathe
