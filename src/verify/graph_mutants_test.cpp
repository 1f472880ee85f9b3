// Models of tests/frontend/contrib with a few bytes changed: whatever becomes of them, it is no crash and no bug of
// ours, and where the reference executor gives results of some type, the compiled graph gives the same type.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "base/file.h"
#include "verify/onnx_bytes.h"

namespace lathe::verify {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> seeds() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(LATHE_TESTS_DIR "/frontend/contrib")) {
    if (fs::exists(entry.path() / "model.onnx")) paths.push_back(entry.path() / "model.onnx");
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<uint8_t> mutated(const std::string& model, std::mt19937& random) {
  std::vector<uint8_t> bytes(model.begin(), model.end());
  for (uint32_t change = 1 + random() % 4; change > 0 && !bytes.empty(); --change) {
    const size_t at = random() % bytes.size();
    switch (random() % 8) {
      case 0:
        bytes.erase(bytes.begin() + std::ptrdiff_t(at));
        break;
      case 1:
        bytes.insert(bytes.begin() + std::ptrdiff_t(at), uint8_t(random()));
        break;
      case 2:
      case 3:
        bytes[at] ^= uint8_t(1u << random() % 8);
        break;
      default:
        bytes[at] = uint8_t(random());
    }
  }
  return bytes;
}

std::string types_of(const std::map<std::string, op::Datum>& results) {
  std::string text;
  for (const auto& [name, datum] : results) {
    if (!datum.is_tensor()) continue;
    text += fmt::format("{} {}{} ", name, to_string(datum.tensor().dtype()),
                        tensor::to_string(std::span(datum.tensor().dims())));
  }
  return text;
}

TEST(GraphMutants, NeitherCrashNorDisagree) {
  std::mt19937 random(2026);
  int imported = 0, ran = 0;
  const auto paths = seeds();
  ASSERT_GT(paths.size(), 100u);
  for (const fs::path& path : paths) {
    const std::string model = read_text_file(path);
    for (int round = 0; round < 20; ++round) {
      SCOPED_TRACE(fmt::format("{}, round {}", path.parent_path().filename().string(), round));
      BytesOutcome outcome;
      try {
        outcome = run_onnx_bytes(mutated(model, random));
      } catch (const Error& error) {
        ADD_FAILURE() << error.what();
        continue;
      }
      imported += outcome.imported;
      if (!outcome.imported || (!outcome.reference && !outcome.compiled)) continue;
      ++ran;
      EXPECT_TRUE(outcome.reference) << "compiled it runs, but: " << outcome.reference_error;
      EXPECT_TRUE(outcome.compiled) << "the reference runs it, but: " << outcome.compiled_error;
      if (!outcome.reference || !outcome.compiled) continue;
      EXPECT_EQ(types_of(*outcome.compiled), types_of(*outcome.reference));
    }
  }
  // The mutants are worth something only while enough of them are still models.
  EXPECT_GT(imported, 500);
  EXPECT_GT(ran, 300);
}

}  // namespace
}  // namespace lathe::verify
