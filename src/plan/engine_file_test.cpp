#include "plan/engine_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/fields.h"
#include "plan/engine_header.h"
#include "plan/sample_plan.h"

namespace lathe::plan {
namespace {

using testing::HasSubstr;
using testing::Not;

// A folder for the files of this run, removed at its end.
struct ScratchFolder {
  std::filesystem::path path = std::filesystem::path(testing::TempDir()) / fmt::format("lathe_engine_{}", ::getpid());
  ScratchFolder() { std::filesystem::create_directories(path); }
  ~ScratchFolder() {
    std::error_code ignored;  // nobody is left to tell
    std::filesystem::remove_all(path, ignored);
  }
};

std::filesystem::path scratch(std::string_view name) {
  static const ScratchFolder folder;
  return folder.path / name;
}

void put_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}

std::string pattern(int64_t bytes, int seed) {
  std::string result(size_t(bytes), '\0');
  for (size_t i = 0; i < result.size(); ++i) result[i] = char((i * 131 + size_t(seed)) >> 3);
  return result;
}

// The sample engine; `extra`: bytes of one more asset.
std::filesystem::path write_sample(std::string_view name, int64_t extra = 5, bool with_receipt = true) {
  const auto path = scratch(name);
  Manifest manifest = sample_manifest();
  EngineWriter writer(path);
  for (Constant& constant : manifest.plan.constants) {
    constant.offset = writer.allocate(constant.bytes);
    const std::string bytes = pattern(constant.bytes, int(constant.offset));
    writer.write(constant.offset, std::as_bytes(std::span(bytes)));
  }
  manifest.assets.push_back(writer.add_asset("words.txt", pattern(extra, 3)));
  writer.finish(manifest);
  if (with_receipt) {
    Receipt receipt;
    receipt.engine_hash = EngineFile::open(writer.temporary_path())->hash();
    receipt.device = "cpu";
    writer.set_receipt(receipt);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.commit();
  return path;
}

ErrorCode open_error(const std::filesystem::path& path, std::string* message = nullptr) {
  try {
    EngineFile::open(path);
  } catch (const Error& error) {
    if (message) *message = error.what();
    return error.code();
  }
  return ErrorCode::internal;  // opened
}

TEST(EngineFile, ReadsBack) {
  const auto path = write_sample("reads_back.lathe");
  ASSERT_TRUE(is_engine_file(path));
  const auto engine = EngineFile::open(path);
  EXPECT_EQ(print(engine->manifest().plan), print(sample_plan()));
  for (const Constant& constant : engine->manifest().plan.constants) {
    const auto found = engine->constant(constant);
    const std::string_view text(reinterpret_cast<const char*>(found.data()), found.size());
    EXPECT_EQ(text, pattern(constant.bytes, int(constant.offset)));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(found.data()) % 64, 0u);
  }
  EXPECT_EQ(engine->find_asset("words.txt").size(), 5u);
  EXPECT_TRUE(engine->find_asset("other").empty());
  ASSERT_TRUE(engine->receipt());
  EXPECT_FALSE(engine->receipt()->flags);  // they came later
  EXPECT_EQ(engine->receipt()->engine_hash, engine->hash());
  EXPECT_NO_THROW(engine->check_weights());
}

TEST(EngineFile, SameInputSameBytes) {
  EXPECT_EQ(read_text_file(write_sample("same_1.lathe")), read_text_file(write_sample("same_2.lathe")));
}

// A file of the first version, kept as it was written then.
TEST(EngineFile, VersionOneOpens) {
  const auto engine = EngineFile::open(LATHE_TESTS_DIR "/plan/engine_v1.lathe");
  EXPECT_EQ(print(engine->manifest().plan), print(sample_plan()));
  EXPECT_EQ(engine->manifest().contract.vocab_size, kSampleVocabulary);
  EXPECT_EQ(engine->find_asset("words.txt").size(), 5u);
  ASSERT_TRUE(engine->receipt());
  EXPECT_FALSE(engine->receipt()->flags);  // they came later
  EXPECT_EQ(engine->receipt()->engine_hash, engine->hash());
  EXPECT_NO_THROW(engine->check_weights());
}

TEST(EngineFile, BigConstantsAreOnPages) {
  EngineWriter writer(scratch("pages.lathe"));
  EXPECT_EQ(writer.allocate(10), 0);
  EXPECT_EQ(writer.allocate(10), 64);
  EXPECT_EQ(writer.allocate(1 << 20), 4096);
  EXPECT_EQ(writer.allocate(0), 4096 + (1 << 20));
}

TEST(EngineFile, ThreadsWriteParts) {
  const auto path = scratch("threads.lathe");
  Manifest manifest = sample_manifest();
  EngineWriter writer(path);
  for (const Constant& constant : manifest.plan.constants) ASSERT_EQ(writer.allocate(constant.bytes), constant.offset);
  constexpr int64_t kPart = 300000;
  const int64_t at = writer.allocate(8 * kPart);
  const std::string whole = pattern(8 * kPart, 9);
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      writer.write(at + i * kPart, std::as_bytes(std::span(whole).subspan(size_t(i * kPart), size_t(kPart))));
    });
  }
  for (std::thread& thread : threads) thread.join();
  manifest.assets.push_back({"big", at, 8 * kPart});
  writer.finish(manifest);
  writer.commit();
  const auto engine = EngineFile::open(path);
  const auto found = engine->find_asset("big");
  EXPECT_TRUE(std::equal(found.begin(), found.end(), std::as_bytes(std::span(whole)).begin()));
}

TEST(EngineFile, NothingAppearsWithoutCommit) {
  const auto path = scratch("uncommitted.lathe");
  std::filesystem::path temporary;
  {
    EngineWriter writer(path);
    temporary = writer.temporary_path();
    EXPECT_TRUE(std::filesystem::exists(temporary));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_FALSE(std::filesystem::exists(temporary));
}

TEST(EngineFile, EveryTruncationIsNoticed) {
  const auto path = write_sample("truncated.lathe");
  for (uint64_t size = std::filesystem::file_size(path); size-- > 0;) {
    if (size > 200 && size < 4000 && size % 97 != 0) continue;
    std::filesystem::resize_file(path, size);
    ASSERT_EQ(open_error(path), ErrorCode::invalid_input) << size;
  }
}

// Changes byte `at` of the file in place.
void flip(std::fstream& file, uint64_t at) {
  file.seekg(std::streamoff(at));
  const char old = char(file.get());
  file.seekp(std::streamoff(at));
  file.put(char(old ^ 0x10)).flush();
}

TEST(EngineFile, EveryFlippedByteIsNoticed) {
  const auto path = write_sample("flipped.lathe");
  const std::string good = read_text_file(path);
  const uint64_t weight_end = kHeaderBytes + EngineFile::open(path)->weights().size();
  uint64_t manifest_begin = 0, manifest_bytes = 0;  // where docs/engine-format.md says
  std::memcpy(&manifest_begin, good.data() + 32, 8);
  std::memcpy(&manifest_bytes, good.data() + 40, 8);
  ASSERT_EQ(manifest_begin, (weight_end + 63) / 64 * 64);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  // Header and manifest when opening, weights when checking; padding has no meaning.
  for (uint64_t i = 0; i < manifest_begin + manifest_bytes; ++i) {
    if (i >= kHeaderUsed && i < kHeaderBytes) continue;
    if (i >= weight_end && i < manifest_begin) continue;
    flip(file, i);
    if (i >= kHeaderBytes && i < weight_end) {
      EXPECT_THROW(EngineFile::open(path)->check_weights(), Error) << i;
    } else {
      const bool is_version = i >= 8 && i < 12;
      EXPECT_EQ(open_error(path), is_version ? ErrorCode::unsupported : ErrorCode::invalid_input) << i;
    }
    flip(file, i);
  }
  EXPECT_NO_THROW(EngineFile::open(path)->check_weights());
}

// Nothing is promised that cannot be kept: this program cannot read the file, so it cannot rebuild it either.
TEST(EngineFile, AnotherVersionNamesItsProducer) {
  const auto path = write_sample("version.lathe");
  std::string bytes = read_text_file(path);
  bytes[8] = 3;
  put_file(path, bytes);
  std::string message;
  EXPECT_EQ(open_error(path, &message), ErrorCode::unsupported);
  EXPECT_THAT(message, HasSubstr("engine format 3, written by lathe test, this program, lathe " LATHE_VERSION
                                 ", reads formats up to 2: run it with lathe test"));
  EXPECT_THAT(message, Not(HasSubstr("lathe build")));
  // Files of before the name stood there, and what is no text.
  for (const char other : {'\0', '\x1b', '\xff'}) {
    std::fill_n(bytes.begin() + kHeaderUsed, kProducerBytes, other);
    put_file(path, bytes);
    EXPECT_EQ(open_error(path, &message), ErrorCode::unsupported);
    EXPECT_THAT(message, HasSubstr("engine format 3, this program"));
    EXPECT_THAT(message, HasSubstr("run it with a lathe that reads it"));
  }
}

TEST(EngineFile, TheProducerStaysWhenAReceiptIsWritten) {
  const auto path = write_sample("producer.lathe", 5, false);
  Receipt receipt;
  receipt.engine_hash = EngineFile::open(path)->hash();
  write_receipt(path, receipt);
  const std::string bytes = read_text_file(path);
  EXPECT_EQ(std::string_view(bytes).substr(kHeaderUsed, 11), std::string_view("lathe test\0", 11));
}

TEST(EngineFile, OtherFilesAreNoEngines) {
  const auto path = scratch("other.txt");
  put_file(path, "LATHE is a machine tool");
  EXPECT_FALSE(is_engine_file(path));
  EXPECT_EQ(open_error(path), ErrorCode::invalid_input);
  EXPECT_FALSE(is_engine_file(path.parent_path()));
  EXPECT_FALSE(is_engine_file(scratch("nothing.there")));
  put_file(path, "");
  EXPECT_FALSE(is_engine_file(path));
  EXPECT_EQ(open_error(path), ErrorCode::invalid_input);
}

TEST(EngineFile, RefusesConstantsBehindTheWeights) {
  Manifest manifest = sample_manifest();
  EngineWriter writer(scratch("outside.lathe"));
  writer.allocate(640);  // the second constant is missing
  EXPECT_THROW(writer.finish(manifest), Error);
}

TEST(EngineFile, DamagedWeightsNameTheirOwner) {
  const auto path = write_sample("damaged.lathe", int64_t{3} << 20);
  std::string bytes = read_text_file(path);
  const auto damage = [&](size_t at) {
    std::string bad = bytes;
    bad[kHeaderBytes + at] ^= 1;
    put_file(path, bad);
    try {
      EngineFile::open(path)->check_weights();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::verification);
      return std::string(error.what());
    }
    return std::string();
  };
  // The hash is of a whole chunk, so all that lie in it are named.
  for (const char* text : {"constant \"table\"", "constant \"up\"", "weight bytes [0, 1048576)"}) {
    EXPECT_THAT(damage(700), HasSubstr(text));
  }
  EXPECT_THAT(damage((size_t{1} << 20) + 5), HasSubstr("asset \"words.txt\": weight bytes [1048576, 2097152)"));
}

TEST(Receipts, AreReplacedInPlace) {
  const auto path = write_sample("receipt.lathe", 5, false);
  const auto before = EngineFile::open(path);
  EXPECT_FALSE(before->receipt());
  for (const std::string device : {"first", "second, which is longer", "3"}) {
    Receipt receipt;
    receipt.engine_hash = before->hash();
    receipt.device = device;
    receipt.flags.emplace();
    receipt.flags->full = true;
    receipt.flags->text = "a.txt";
    receipt.flags->text_tokens = 9;
    write_receipt(path, receipt);
    const auto after = EngineFile::open(path);
    EXPECT_EQ(to_json(*after->receipt()), to_json(receipt));
    ASSERT_TRUE(after->receipt()->flags);
    EXPECT_TRUE(after->receipt()->flags->full);
    EXPECT_EQ(after->hash(), before->hash());
    EXPECT_NO_THROW(after->check_weights());
  }
  Receipt foreign;
  foreign.engine_hash = std::string(32, '0');
  EXPECT_THROW(write_receipt(path, foreign), Error);
}

TEST(Receipts, ACrashBeforeTheSwitchLeavesTheOldOne) {
  const auto path = write_sample("crash.lathe");
  std::ofstream(path, std::ios::binary | std::ios::app) << "half of a rece";
  EXPECT_EQ(EngineFile::open(path)->receipt()->device, "cpu");
}

}  // namespace
}  // namespace lathe::plan
