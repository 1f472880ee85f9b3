// liblathe_cuda.so: its table of functions, devices, memory and streams. CUDA's runtime is linked in; the driver is
// opened by it at the first call, so that the library itself loads on any machine.
#include "backend/cuda/library/library.h"

#include <string.h>

#include <new>

namespace lathe::backend::cuda {
namespace {

constexpr int kLeastMajor = 8;  // compute capability that the kernels need

bool is_lost(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

int32_t kind_of(cudaError_t error) {
  if (is_lost(error)) return LATHE_CUDA_DEVICE_LOST;
  switch (error) {
    case cudaErrorMemoryAllocation:
      return LATHE_CUDA_OUT_OF_MEMORY;
    case cudaErrorNoDevice:
      return LATHE_CUDA_NO_DEVICE;
    case cudaErrorStubLibrary:
      return LATHE_CUDA_NO_DRIVER;
    case cudaErrorInsufficientDriver:
      return LATHE_CUDA_OLD_DRIVER;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorUnsupportedPtxVersion:
      return LATHE_CUDA_OTHER_DEVICE;
    case cudaErrorInvalidDevice:
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
      return LATHE_CUDA_BAD_ARGUMENT;
    default:
      return LATHE_CUDA_FAILED;
  }
}

// CUDA 13.0 as 13, 0.
int major_of(int version) {
  return version / 1000;
}
int minor_of(int version) {
  return version % 1000 / 10;
}

int32_t describe(LatheCudaSystem* system, LatheCudaMessage* message) noexcept {
  if (!system) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "describe: null");
  *system = {CUDART_VERSION, 0, 0};
  int driver = 0, devices = 0;
  // Both a missing driver and one that is too old are cudaErrorInsufficientDriver to cudaGetDeviceCount.
  if (cudaDriverGetVersion(&driver) == cudaSuccess) system->driver_version = driver;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaSuccess && devices > 0) {
    system->devices = devices;
    return LATHE_CUDA_OK;
  }
  cudaGetLastError();
  if (error == cudaSuccess || error == cudaErrorNoDevice) {
    return refuse(message, LATHE_CUDA_NO_DEVICE, "the driver shows no GPU to this process");
  }
  if (error == cudaErrorInsufficientDriver && system->driver_version == 0) {
    return refuse(message, LATHE_CUDA_NO_DRIVER, "libcuda.so.1 was not found");
  }
  if (error == cudaErrorInsufficientDriver) {
    return refuse(message, LATHE_CUDA_OLD_DRIVER, "the driver runs CUDA up to %d.%d, the library needs %d.%d",
                  major_of(driver), minor_of(driver), major_of(CUDART_VERSION), minor_of(CUDART_VERSION));
  }
  return status_of(error, "cudaGetDeviceCount", message);
}

int32_t describe_device(int32_t device, LatheCudaDevice* properties, LatheCudaMessage* message) noexcept {
  if (!properties) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "describe_device: null");
  *properties = {};
  cudaDeviceProp found;
  cudaError_t error = cudaGetDeviceProperties(&found, device);
  if (error != cudaSuccess) return status_of(error, "cudaGetDeviceProperties", message);
  static_assert(sizeof found.name <= sizeof properties->name);
  memcpy(properties->name, found.name, sizeof found.name);
  properties->name[sizeof properties->name - 1] = 0;
  properties->major = found.major;
  properties->minor = found.minor;
  properties->multiprocessors = found.multiProcessorCount;
  properties->pci_bus = found.pciBusID;
  properties->memory_total = found.totalGlobalMem;
  properties->shared_per_block = found.sharedMemPerBlockOptin;
  if (found.major < kLeastMajor) {
    return refuse(message, LATHE_CUDA_OTHER_DEVICE, "compute capability %d.%d, the kernels need %d.0", found.major,
                  found.minor, kLeastMajor);
  }
  error = cudaSetDevice(device);
  if (error != cudaSuccess) return status_of(error, "cudaSetDevice", message);
  size_t free = 0, total = 0;
  error = cudaMemGetInfo(&free, &total);
  if (error != cudaSuccess) return status_of(error, "cudaMemGetInfo", message);
  properties->memory_free = free;
  properties->memory_total = total;
  return LATHE_CUDA_OK;
}

int32_t allocate(int32_t device, uint64_t bytes, void** memory, LatheCudaMessage* message) noexcept {
  if (!memory || bytes == 0) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "allocate: nothing to allocate");
  *memory = nullptr;
  cudaError_t error = cudaSetDevice(device);
  if (error != cudaSuccess) return status_of(error, "cudaSetDevice", message);
  error = cudaMalloc(memory, bytes);
  if (error == cudaSuccess) return LATHE_CUDA_OK;
  *memory = nullptr;
  if (error != cudaErrorMemoryAllocation) return status_of(error, "cudaMalloc", message);
  cudaGetLastError();
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) cudaGetLastError();
  return refuse(message, LATHE_CUDA_OUT_OF_MEMORY, "no memory for %llu bytes: %zu of %zu are free",
                static_cast<unsigned long long>(bytes), free, total);
}

int32_t release(int32_t device, void* memory, LatheCudaMessage* message) noexcept {
  if (!memory) return LATHE_CUDA_OK;
  cudaError_t error = cudaSetDevice(device);
  if (error != cudaSuccess) return status_of(error, "cudaSetDevice", message);
  error = cudaFree(memory);
  return error == cudaSuccess ? int32_t(LATHE_CUDA_OK) : status_of(error, "cudaFree", message);
}

int32_t allocate_host(int32_t device, uint64_t bytes, void** memory, LatheCudaMessage* message) noexcept {
  if (!memory || bytes == 0) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "allocate_host: nothing to allocate");
  *memory = nullptr;
  cudaError_t error = cudaSetDevice(device);
  if (error != cudaSuccess) return status_of(error, "cudaSetDevice", message);
  error = cudaMallocHost(memory, bytes);
  return error == cudaSuccess ? int32_t(LATHE_CUDA_OK) : status_of(error, "cudaMallocHost", message);
}

int32_t release_host(int32_t device, void* memory, LatheCudaMessage* message) noexcept {
  if (!memory) return LATHE_CUDA_OK;
  cudaError_t error = cudaSetDevice(device);
  if (error != cudaSuccess) return status_of(error, "cudaSetDevice", message);
  error = cudaFreeHost(memory);
  return error == cudaSuccess ? int32_t(LATHE_CUDA_OK) : status_of(error, "cudaFreeHost", message);
}

int32_t create_stream(int32_t device, LatheCudaStream** stream, LatheCudaMessage* message) noexcept {
  if (!stream) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "create_stream: null");
  *stream = nullptr;
  LatheCudaStream created = {device, nullptr, 0};
  cudaError_t error = cudaSetDevice(device);
  if (error != cudaSuccess) return status_of(error, "cudaSetDevice", message);
  int shared = 0;
  error = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error != cudaSuccess) return status_of(error, "cudaDeviceGetAttribute", message);
  created.shared_per_block = uint64_t(shared);
  error = cudaStreamCreateWithFlags(&created.stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) return status_of(error, "cudaStreamCreate", message);
  *stream = new (std::nothrow) LatheCudaStream(created);
  if (*stream) return LATHE_CUDA_OK;
  cudaStreamDestroy(created.stream);
  return refuse(message, LATHE_CUDA_OUT_OF_MEMORY, "no host memory for a stream");
}

int32_t destroy_stream(LatheCudaStream* stream, LatheCudaMessage* message) noexcept {
  if (!stream) return LATHE_CUDA_OK;
  const LatheCudaStream old = *stream;
  delete stream;
  cudaError_t error = cudaSetDevice(old.device);
  if (error != cudaSuccess) return status_of(error, "cudaSetDevice", message);
  error = cudaStreamDestroy(old.stream);
  return error == cudaSuccess ? int32_t(LATHE_CUDA_OK) : status_of(error, "cudaStreamDestroy", message);
}

int32_t synchronize(LatheCudaStream* stream, LatheCudaMessage* message) noexcept {
  if (!stream) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "synchronize: null");
  const cudaError_t error = cudaStreamSynchronize(stream->stream);
  return error == cudaSuccess ? int32_t(LATHE_CUDA_OK) : status_of(error, "cudaStreamSynchronize", message);
}

int32_t copy(LatheCudaStream* stream, void* to, const void* from, uint64_t bytes, cudaMemcpyKind kind,
             LatheCudaMessage* message) noexcept {
  if (bytes == 0) return LATHE_CUDA_OK;
  if (!stream || !to || !from) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "copy: null");
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, stream->stream);
  return error == cudaSuccess ? int32_t(LATHE_CUDA_OK) : status_of(error, "cudaMemcpyAsync", message);
}

int32_t copy_in(LatheCudaStream* stream, void* to, const void* host, uint64_t bytes,
                LatheCudaMessage* message) noexcept {
  return copy(stream, to, host, bytes, cudaMemcpyHostToDevice, message);
}
int32_t copy_out(LatheCudaStream* stream, void* host, const void* from, uint64_t bytes,
                 LatheCudaMessage* message) noexcept {
  return copy(stream, host, from, bytes, cudaMemcpyDeviceToHost, message);
}
int32_t copy_within(LatheCudaStream* stream, void* to, const void* from, uint64_t bytes,
                    LatheCudaMessage* message) noexcept {
  return copy(stream, to, from, bytes, cudaMemcpyDeviceToDevice, message);
}

int32_t clear(LatheCudaStream* stream, void* memory, uint64_t bytes, LatheCudaMessage* message) noexcept {
  if (bytes == 0) return LATHE_CUDA_OK;
  if (!stream || !memory) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "clear: null");
  const cudaError_t error = cudaMemsetAsync(memory, 0, bytes, stream->stream);
  return error == cudaSuccess ? int32_t(LATHE_CUDA_OK) : status_of(error, "cudaMemsetAsync", message);
}

constexpr LatheCudaApi kApi = {
    sizeof(LatheCudaApi),
    LATHE_CUDA_ARCHITECTURES,
    describe,
    describe_device,
    run_self_test,
    allocate,
    release,
    allocate_host,
    release_host,
    create_stream,
    destroy_stream,
    synchronize,
    copy_in,
    copy_out,
    copy_within,
    clear,
    launch_linear_decode,
    launch_linear_prefill,
    launch_paged_attention,
    launch_normalise,
    launch_combine,
    launch_place_columns,
    launch_look_up,
    launch_rotary_table,
    launch_linear_decode_blocks,
    launch_round_activations,
    launch_linear_prefill_blocks,
    launch_look_up_blocks,
    launch_sample,
};

}  // namespace

int32_t status_of(cudaError_t error, const char* what, LatheCudaMessage* message) noexcept {
  cudaGetLastError();
  return refuse(message, kind_of(error), "%s: %s (%s)", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

}  // namespace lathe::backend::cuda

#define LATHE_CUDA_EXPORT extern "C" __attribute__((visibility("default")))

LATHE_CUDA_EXPORT const char* lathe_cuda_abi_hash(void) {
  return LATHE_CUDA_ABI_HASH;
}

LATHE_CUDA_EXPORT int32_t lathe_cuda_open(const char* abi_hash, const LatheCudaApi** api, LatheCudaMessage* message) {
  using lathe::backend::cuda::refuse;
  if (!abi_hash || !api) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "lathe_cuda_open: null");
  *api = nullptr;
  if (strcmp(abi_hash, LATHE_CUDA_ABI_HASH) != 0) {
    return refuse(message, LATHE_CUDA_OTHER_BUILD,
                  "the program expects ABI %.64s, the library has " LATHE_CUDA_ABI_HASH, abi_hash);
  }
  *api = &lathe::backend::cuda::kApi;
  return LATHE_CUDA_OK;
}
