// Files that break a rule, and files cut short: every parser refuses them with an Error or reads what is
// there.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "base/error.h"
#include "io/gguf.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "io/torch_file.h"

namespace lathe::io {
namespace {

using Parse = std::function<void(std::span<const std::byte>)>;

struct Format {
  std::string name;  // of the folder below tests/io/corpus
  Parse parse;       // parses and loads everything
};

void load_all(const TensorList& tensors) {
  for (const StoredTensor& tensor : tensors) tensor::load(*tensor.source());
}

std::ostream& operator<<(std::ostream& out, const Format& format) {
  return out << format.name;
}

class Hostile : public testing::TestWithParam<Format> {
 protected:
  // Calls body(file name, content) for every file of the corpus.
  void for_each_file(const std::function<void(const std::string&, const std::vector<std::byte>&)>& body) {
    size_t files = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(LATHE_TESTS_DIR "/io/corpus/" + GetParam().name)) {
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string text((std::istreambuf_iterator<char>(in)), {});
      const auto bytes = std::as_bytes(std::span(text));
      SCOPED_TRACE(entry.path().filename().string());
      body(entry.path().filename().string(), {bytes.begin(), bytes.end()});
      ++files;
    }
    EXPECT_GT(files, 20u);
  }
};

TEST_P(Hostile, CorpusIsReadOrRefusedAsNamed) {
  for_each_file([&](const std::string& name, const std::vector<std::byte>& bytes) {
    if (name.starts_with("ok_")) {
      EXPECT_NO_THROW(GetParam().parse(bytes));
    } else {
      try {
        GetParam().parse(bytes);
        ADD_FAILURE() << "was read";
      } catch (const Error& error) {
        EXPECT_TRUE(error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::unsupported)
            << error.what();
      }
    }
  });
}

TEST_P(Hostile, TruncatedFilesAreRefused) {
  for_each_file([&](const std::string& name, const std::vector<std::byte>& bytes) {
    if (!name.starts_with("ok_")) return;
    for (size_t size = 0; size < bytes.size(); ++size) {
      // A copy of its own, so that the address sanitiser sees a read beyond the end.
      const std::vector<std::byte> part(bytes.begin(), bytes.begin() + std::ptrdiff_t(size));
      try {
        GetParam().parse(part);
        // Only padding may go: after GGUF's last tensor, or before its empty data.
        EXPECT_EQ(GetParam().name, "gguf") << size << " of " << bytes.size() << " bytes were read";
        EXPECT_LT(bytes.size() - size, 64u);
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
      }
    }
  });
}

TEST_P(Hostile, FlippedBytesNeverCrash) {
  for_each_file([&](const std::string& name, const std::vector<std::byte>& bytes) {
    if (!name.starts_with("ok_") || bytes.size() > 2000) return;
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (const uint8_t mask : {0x01, 0x80, 0xff}) {
        std::vector<std::byte> changed = bytes;
        changed[at] ^= std::byte{mask};
        try {
          GetParam().parse(changed);
        } catch (const Error& error) {
          EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
        }
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(
    Parsers, Hostile,
    testing::Values(Format{"safetensors",
                           [](std::span<const std::byte> bytes) { load_all(SafetensorsFile::parse(bytes).tensors); }},
                    Format{"gguf", [](std::span<const std::byte> bytes) { load_all(GgufFile::parse(bytes).tensors); }},
                    Format{"npy", [](std::span<const std::byte> bytes) { parse_npy(bytes); }},
                    Format{"torch",
                           [](std::span<const std::byte> bytes) {
                             for (const NamedSource& tensor : TorchFile::parse(bytes).tensors)
                               tensor::load(*tensor.source);
                           }}),
    [](const auto& format) { return format.param.name; });

}  // namespace
}  // namespace lathe::io
