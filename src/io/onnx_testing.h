// What the tests of ONNX share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "io/onnx.h"
#include "io/protobuf_wire.h"

namespace lathe::io {

namespace fs = std::filesystem;

// Written by tools/make_onnx_fixtures.py.
inline const fs::path kFixtures = fs::path(LATHE_TESTS_DIR) / "io/onnx";

// A folder of its own for each test, removed afterwards.
class OnnxTest : public ::testing::Test {
 protected:
  OnnxTest() : folder_(fs::temp_directory_path() / fmt::format("lathe_onnx_{}", ::getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~OnnxTest() override { fs::remove_all(folder_); }

  fs::path folder_;
};

// The code of the Error that `body` throws; a failure of the test when it throws none.
inline ErrorCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::internal;
}

inline std::vector<std::byte> read_bytes(const fs::path& path) {
  const auto file = MappedFile::open(path);
  return {file->bytes().begin(), file->bytes().end()};
}

// A message built by hand.
inline std::vector<std::byte> onnx_message(const std::function<void(WireWriter&)>& describe) {
  WireWriter writer;
  describe(writer);
  std::vector<std::byte> bytes;
  writer.start([&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); });
  describe(writer);
  writer.finish();
  return bytes;
}

inline std::string packed_floats(std::initializer_list<float> values) {
  std::string bytes;
  for (const float value : values) bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  return bytes;
}

}  // namespace lathe::io
