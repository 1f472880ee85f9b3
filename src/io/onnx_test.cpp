#include "io/onnx.h"

#include <sys/stat.h>

#include "io/onnx_testing.h"

namespace lathe::io {
namespace {

class OnnxExternalTest : public OnnxTest {
 protected:
  // Writes a model with one f32[2] initializer whose external_data has these entries.
  std::shared_ptr<const OnnxFile> model(const OnnxProperties& entries) {
    const auto bytes = onnx_message([&](WireWriter& out) {
      out.integer(1, 8);
      out.message(7, [&] {
        out.message(5, [&] {
          out.integer(1, 2);
          out.integer(2, 1);
          out.text(8, "w");
          for (const auto& [key, value] : entries) {
            out.message(13, [&] {
              out.text(1, key);
              out.text(2, value);
            });
          }
          out.integer(14, 1);
        });
      });
    });
    write_text_file(folder_ / "m/model.onnx", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    return OnnxFile::open(folder_ / "m/model.onnx");
  }
  ErrorCode refusal(const OnnxProperties& entries) {
    return code_of([&] {
      const auto file = model(entries);
      file->tensor_source(file->model().graph.initializers[0]);
    });
  }
  float first_value(const OnnxProperties& entries) {
    const auto file = model(entries);
    return file->load(file->model().graph.initializers[0]).data<float>()[0];
  }
  void SetUp() override {
    fs::create_directories(folder_ / "m/sub");
    for (const char* name : {"m/data", "m/sub/data", "outside", "m2"}) {
      write_text_file(folder_ / name, packed_floats({1, 2}));
    }
  }
};

TEST_F(OnnxExternalTest, ReadsFilesInTheFolder) {
  EXPECT_EQ(first_value({{"location", "data"}}), 1);
  EXPECT_EQ(first_value({{"location", "./sub/data"}}), 1);
  EXPECT_EQ(
      first_value({{"location", "data"}, {"offset", "0"}, {"length", "8"}, {"checksum", "x"}, {"new", "?"}}),
      1);
  fs::create_symlink("sub/data", folder_ / "m/inner");
  EXPECT_EQ(first_value({{"location", "inner"}}), 1);
}

TEST_F(OnnxExternalTest, RefusesPathsThatLeaveTheFolder) {
  fs::create_symlink("../outside", folder_ / "m/link");
  fs::create_directory_symlink("..", folder_ / "m/up");
  for (const std::string& location :
       {std::string("../outside"), std::string("sub/../../outside"), std::string("sub/../data"),
        (folder_ / "m/data").string(), std::string("link"), std::string("up/outside"), std::string("up/m2"),
        std::string(""), std::string("."), std::string("sub"), std::string("data\0", 5),
        std::string("x/_ORT_MEM_ADDR_/x"), std::string("*/_ORT_MEM_ADDR_/*")}) {
    EXPECT_EQ(refusal({{"location", location}}), ErrorCode::invalid_input) << location;
  }
  EXPECT_EQ(refusal({{"location", "nothing"}}), ErrorCode::not_found);
  ASSERT_EQ(::mkfifo((folder_ / "m/pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal({{"location", "pipe"}}), ErrorCode::invalid_input);
}

TEST_F(OnnxExternalTest, RefusesPartsBeyondTheFile) {
  const auto refuse = [&](const char* key, const char* value) {
    return refusal({{"location", "data"}, {key, value}});
  };
  EXPECT_EQ(refuse("offset", "1"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("offset", "18446744073709551615"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("offset", "18446744073709551616"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("offset", "-1"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("offset", "0x0"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("offset", ""), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("length", "4"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("length", "9"), ErrorCode::invalid_input);
}

TEST_F(OnnxExternalTest, FollowsTheHuggingFaceCache) {
  const fs::path root = folder_ / "hub/models--org--name";
  fs::create_directories(root / "blobs");
  fs::create_directories(root / "snapshots/abc/onnx");
  model({{"location", "data"}});
  fs::rename(folder_ / "m/model.onnx", root / "blobs/1111");
  fs::rename(folder_ / "m/data", root / "blobs/2222");
  fs::create_symlink("../../../blobs/1111", root / "snapshots/abc/onnx/model.onnx");
  fs::create_symlink("../../../blobs/2222", root / "snapshots/abc/onnx/data");
  const auto file = OnnxFile::open(root / "snapshots/abc/onnx/model.onnx");
  EXPECT_EQ(file->load(file->model().graph.initializers[0]).data<float>()[1], 2);

  fs::remove(root / "snapshots/abc/onnx/data");
  fs::create_symlink("../../../../../outside", root / "snapshots/abc/onnx/data");
  const auto other = OnnxFile::open(root / "snapshots/abc/onnx/model.onnx");
  EXPECT_EQ(code_of([&] { other->load(other->model().graph.initializers[0]); }), ErrorCode::invalid_input);
}

}  // namespace
}  // namespace lathe::io
