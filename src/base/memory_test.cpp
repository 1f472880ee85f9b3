#include "base/memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <vector>

#include "base/error.h"

namespace lathe {
namespace {

TEST(Memory, PeaksFollowAllocations) {
  constexpr size_t kSize = size_t{64} << 20;
  const MemoryUse before = memory_use();
  {
    std::vector<char> block(kSize);
    std::memset(block.data(), 1, block.size());
    const MemoryUse during = memory_use();
    EXPECT_GE(during.peak_anon_bytes, kSize);
    EXPECT_GE(during.peak_rss_bytes, kSize);
    EXPECT_GE(during.peak_anon_bytes, before.peak_anon_bytes);
  }
  const MemoryUse after = memory_use();  // peaks do not go down
  EXPECT_GE(after.peak_anon_bytes, kSize);
  EXPECT_GE(after.peak_rss_bytes, kSize);
}

TEST(Memory, AvailableIsBelowWhatTheMachineHas) {
  const uint64_t total = uint64_t(::sysconf(_SC_PHYS_PAGES)) * uint64_t(::sysconf(_SC_PAGESIZE));
  EXPECT_GT(available_memory_bytes(), 0u);
  EXPECT_LE(available_memory_bytes(), total);
}

TEST(Memory, DiskSpaceOfFoldersThatDoNotExistYet) {
  const uint64_t space = available_disk_bytes("/tmp");
  EXPECT_GT(space, 0u);
  const uint64_t nested = available_disk_bytes("/tmp/lathe_no_such_folder/a/b");
  EXPECT_LT(nested > space ? nested - space : space - nested, uint64_t{1} << 30);  // others write too
  EXPECT_GT(available_disk_bytes("relative_and_absent"), 0u);
}

TEST(Memory, CpusAreAtLeastOneAndNoMoreThanThereAre) {
  EXPECT_GE(available_cpus(), 1);
  EXPECT_LE(available_cpus(), int(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace lathe
