// A GPU for a test: the library that was built, or the one that LATHE_CUDA_LIBRARY names. Tests are skipped where no
// GPU is there.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/cuda/host/library.h"
#include "tensor/source.h"

namespace lathe::backend::cuda {

class OnDevice : public testing::Test {
 protected:
  void SetUp() override {
    GpuPlaces places;
    const char* other = std::getenv("LATHE_CUDA_LIBRARY");
    places.library = other ? other : LATHE_CUDA_BUILT;
    if (places.library.empty()) GTEST_SKIP() << "no nvcc, no liblathe_cuda.so";
    const Library library = open_library(places);
    ASSERT_NE(library.api, nullptr) << library.problem;
    LatheCudaSystem system = {};
    if (library.api->describe(&system, &message) != LATHE_CUDA_OK) GTEST_SKIP() << message.text;
    api = library.api;
    ASSERT_EQ(api->create_stream(0, &stream, &message), LATHE_CUDA_OK) << message.text;
  }
  void TearDown() override {
    if (!api) return;
    release_all();
    EXPECT_EQ(api->destroy_stream(stream, &message), LATHE_CUDA_OK) << message.text;
  }

  // Null of no values.
  template <class T>
  T* upload(const std::vector<T>& values) {
    if (values.empty()) return nullptr;
    void* memory = nullptr;
    good(api->allocate(0, values.size() * sizeof(T), &memory, &message));
    memory_.push_back(memory);
    good(api->copy_in(stream, memory, values.data(), values.size() * sizeof(T), &message));
    good(api->synchronize(stream, &message));
    return static_cast<T*>(memory);
  }
  template <class T>
  std::vector<T> download(const T* from, size_t count) {
    std::vector<T> values(count);
    good(api->copy_out(stream, values.data(), from, count * sizeof(T), &message));
    good(api->synchronize(stream, &message));
    return values;
  }
  void release_all() {
    for (void* memory : memory_) good(api->release(0, memory, &message));
    memory_.clear();
  }
  void good(int32_t status) const { ASSERT_EQ(status, LATHE_CUDA_OK) << message.text; }

  // Rows of a source as they are stored.
  std::byte* upload_weights(const tensor::Source& source, size_t element) {
    std::vector<std::byte> bytes(size_t(source.rows() * source.row_elements()) * element);
    source.read_rows(0, source.rows(), bytes);
    return upload(bytes);
  }

  const LatheCudaApi* api = nullptr;
  LatheCudaStream* stream = nullptr;
  LatheCudaMessage message = {};

 private:
  std::vector<void*> memory_;
};

}  // namespace lathe::backend::cuda
