#include "io/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"

namespace lathe::io {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::Tensor;

const std::filesystem::path kCorpus = LATHE_TESTS_DIR "/io/corpus/npy";

TEST(Npy, ReadsWhatNumpyWrote) {
  const std::vector<std::pair<std::string, DType>> types = {
      {"float16", DType::f16}, {"float32", DType::f32}, {"float64", DType::f64}, {"int8", DType::i8},
      {"int16", DType::i16},   {"int32", DType::i32},   {"int64", DType::i64},   {"uint8", DType::u8},
      {"uint16", DType::u16},  {"uint32", DType::u32},  {"uint64", DType::u64},  {"bool", DType::boolean}};
  for (const auto& [name, dtype] : types) {
    SCOPED_TRACE(name);
    const Tensor array = read_npy(kCorpus / ("ok_" + name));
    EXPECT_EQ(array.dtype(), dtype);
    EXPECT_EQ(array.dims(), (Dims{2, 3}));
    for (int64_t i = 0; i < 6; ++i) {
      EXPECT_EQ(tensor::element_as_double(array, i), dtype == DType::boolean ? double(i > 0) : double(i));
    }
  }
  EXPECT_EQ(read_npy(kCorpus / "ok_complex64").dtype(), DType::c64);
  EXPECT_EQ(read_npy(kCorpus / "ok_scalar").dims(), Dims{});
  EXPECT_EQ(read_npy(kCorpus / "ok_scalar").data<float>()[0], 2.5f);
  EXPECT_EQ(read_npy(kCorpus / "ok_empty").dims(), (Dims{0, 3}));
  EXPECT_EQ(read_npy(kCorpus / "ok_version_2").data<float>()[5], 5.0f);
  EXPECT_THROW(read_npy(kCorpus / "absent"), Error);
}

TEST(Npy, WritesTheBytesThatNumpyWrites) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("lathe_npy_{}.npy", ::getpid());
  for (const auto& entry : std::filesystem::directory_iterator(kCorpus)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("ok_")) continue;
    SCOPED_TRACE(name);
    const Tensor array = read_npy(entry.path());
    write_npy(path, array);
    const Tensor again = read_npy(path);
    EXPECT_EQ(again.dtype(), array.dtype());
    EXPECT_EQ(again.dims(), array.dims());
    EXPECT_TRUE(std::ranges::equal(again.bytes(), array.bytes()));
    const auto data_begin = MappedFile::open(path)->bytes().size() - array.bytes().size();
    EXPECT_EQ(data_begin % 64, 0u);
  }
  std::filesystem::remove(path);
  EXPECT_THROW(write_npy(path, Tensor(DType::bf16, {2})), Error);
  EXPECT_THROW(write_npy(path, Tensor(DType::i4, {2})), Error);
  EXPECT_THROW(write_npy(path, Tensor::of_strings({1}, {"a"})), Error);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace lathe::io
