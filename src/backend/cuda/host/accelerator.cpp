#include "backend/cuda/host/accelerator.h"

#include <cstring>

#include "backend/cuda/host/library.h"

namespace lathe::backend {

const Device& cuda_device();

namespace cuda {
namespace {

ErrorCode code_of(int32_t status) {
  switch (status) {
    case LATHE_CUDA_NO_DRIVER:
    case LATHE_CUDA_OLD_DRIVER:
    case LATHE_CUDA_NO_DEVICE:
    case LATHE_CUDA_OTHER_DEVICE:
    case LATHE_CUDA_OUT_OF_MEMORY:
    case LATHE_CUDA_DEVICE_LOST:
    case LATHE_CUDA_FAILED:
      return ErrorCode::resource;
    case LATHE_CUDA_OTHER_BUILD:
    case LATHE_CUDA_UNSUPPORTED:
      return ErrorCode::unsupported;
    default:
      return ErrorCode::internal;
  }
}

void require(int32_t status, const LatheCudaMessage& message) {
  if (status != LATHE_CUDA_OK) throw error_of(status, message);
}

class Gpu final : public Accelerator {
 public:
  Gpu(const LatheCudaApi& api, int index) : api_(api), index_(index) {
    LatheCudaMessage message = {};
    require(api_.describe_device(index, &found_, &message), message);
    found_.name[sizeof found_.name - 1] = 0;
  }

  const Device& device() const override { return cuda_device(); }
  std::string name() const override { return fmt::format("cuda:{}", index_); }
  std::string description() const override { return found_.name; }
  std::string arch() const override { return fmt::format("sm_{}{}", found_.major, found_.minor); }

  Memory memory() const override {
    LatheCudaMessage message = {};
    LatheCudaDevice now = {};
    require(api_.describe_device(index_, &now, &message), message);
    return {now.memory_total, now.memory_free};
  }

  std::shared_ptr<std::byte> allocate(size_t bytes) override {
    LatheCudaMessage message = {};
    void* memory = nullptr;
    require(api_.allocate(index_, bytes, &memory, &message), message);
    return {static_cast<std::byte*>(memory),
            [&api = api_, index = index_](std::byte* begin) { api.release(index, begin, nullptr); }};
  }

  std::shared_ptr<std::byte> allocate_host(size_t bytes) override {
    LatheCudaMessage message = {};
    void* memory = nullptr;
    require(api_.allocate_host(index_, bytes, &memory, &message), message);
    std::memset(memory, 0, bytes);
    return {static_cast<std::byte*>(memory),
            [&api = api_, index = index_](std::byte* begin) { api.release_host(index, begin, nullptr); }};
  }

  std::unique_ptr<Stream> make_stream() override { return std::make_unique<CudaStream>(api_, index_); }

 private:
  const LatheCudaApi& api_;  // lives until the process ends
  int index_;
  LatheCudaDevice found_ = {};
};

}  // namespace

Error error_of(int32_t status, const LatheCudaMessage& message) {
  const std::string_view text(message.text, ::strnlen(message.text, sizeof message.text));
  return {code_of(status), text.empty() ? fmt::format("CUDA status {}", status) : std::string(text)};
}

CudaStream::CudaStream(const LatheCudaApi& api, int device) : api_(api) {
  LatheCudaMessage message = {};
  require(api_.create_stream(device, &stream_, &message), message);
}

CudaStream::~CudaStream() {
  drain();
  api_.destroy_stream(stream_, nullptr);
}

void CudaStream::copy_in(std::byte* to, const std::byte* host, size_t bytes) {
  LatheCudaMessage message = {};
  require(api_.copy_in(stream_, to, host, bytes, &message), message);
}

void CudaStream::copy_out(std::byte* host, const std::byte* from, size_t bytes) {
  LatheCudaMessage message = {};
  require(api_.copy_out(stream_, host, from, bytes, &message), message);
}

void CudaStream::wait() {
  LatheCudaMessage message = {};
  require(api_.synchronize(stream_, &message), message);
}

void CudaStream::drain() noexcept {
  api_.synchronize(stream_, nullptr);
}

void keep_failure(const Bound& bound, int32_t status, const LatheCudaMessage& message) noexcept {
  Error error = error_of(status, message);
  error.add_context(fmt::format("{} \"{}\"", bound.instruction->op, bound.instruction->name));
  *bound.failure = std::make_exception_ptr(std::move(error));
}

std::shared_ptr<Accelerator> open_gpu(int index, const GpuPlaces& places) {
  check_gpu(index, places);
  const Library library = open_library(places);
  LATHE_CHECK(library.api != nullptr, "{}", library.problem);
  return std::make_shared<Gpu>(*library.api, index);
}

}  // namespace cuda

std::shared_ptr<Accelerator> open_accelerator(std::string_view name, const GpuPlaces& places) {
  if (const auto index = gpu_index(name)) return cuda::open_gpu(*index, places);
  get_device(name);
  return nullptr;
}

}  // namespace lathe::backend
