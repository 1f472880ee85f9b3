// liblathe_cuda.so as tests need it: one of several machines, chosen by a FAKE_ definition, without any CUDA.
#include <stdio.h>
#include <string.h>

#include "backend/cuda/abi.h"

#define EXPORT __attribute__((visibility("default")))

static int32_t refuse(LatheCudaMessage* message, int32_t status, const char* text) {
  if (message) snprintf(message->text, sizeof message->text, "%s", text);
  return status;
}

static int32_t describe(LatheCudaSystem* system, LatheCudaMessage* message) {
  system->runtime_version = 13000;
  system->driver_version = 13010;
  system->devices = 0;
#if defined(FAKE_NO_DRIVER)
  system->driver_version = 0;
  return refuse(message, LATHE_CUDA_NO_DRIVER, "libcuda.so.1 was not found");
#elif defined(FAKE_OLD_DRIVER)
  system->driver_version = 12040;
  return refuse(message, LATHE_CUDA_OLD_DRIVER, "the driver runs CUDA up to 12.4, the library needs 13.0");
#elif defined(FAKE_NO_DEVICE)
  return refuse(message, LATHE_CUDA_NO_DEVICE, "the driver shows no GPU to this process");
#elif defined(FAKE_TWO_GPUS)
  (void)message;
  system->devices = 2;
  return LATHE_CUDA_OK;
#else
  (void)message;
  system->devices = 1;
  return LATHE_CUDA_OK;
#endif
}

static int32_t describe_device(int32_t device, LatheCudaDevice* properties, LatheCudaMessage* message) {
  memset(properties, 0, sizeof *properties);
  snprintf(properties->name, sizeof properties->name, "Imagined GPU %d", device);
  properties->multiprocessors = 100 + device;
  properties->memory_total = 80000000000u;
  properties->memory_free = 79000000000u;
#if defined(FAKE_OLD_GPU)
  properties->major = 7;
  properties->minor = 5;
  return refuse(message, LATHE_CUDA_OTHER_DEVICE, "compute capability 7.5, the kernels need 8.0");
#else
  (void)message;
  properties->major = 9;
  return LATHE_CUDA_OK;
#endif
}

static int32_t self_test(int32_t device, LatheCudaMessage* message) {
  (void)device;
#if defined(FAKE_FAILING_GPU)
  return refuse(message, LATHE_CUDA_WRONG_RESULT, "self test: element 7: expected 1591, found 0");
#else
  (void)message;
  return LATHE_CUDA_OK;
#endif
}

// The rest is null: nothing here has memory or kernels to give.
static const LatheCudaApi kApi = {.bytes = sizeof(LatheCudaApi),
                                  .architectures = "sm_80 compute_80",
                                  .describe = describe,
                                  .describe_device = describe_device,
                                  .self_test = self_test};

EXPORT const char* lathe_cuda_abi_hash(void);
const char* lathe_cuda_abi_hash(void) {
#if defined(FAKE_OTHER_BUILD)
  return "0123456789abcdef";
#else
  return LATHE_CUDA_ABI_HASH;
#endif
}

#if defined(FAKE_NO_OPEN)
#define lathe_cuda_open lathe_cuda_opened_otherwise
#endif
EXPORT int32_t lathe_cuda_open(const char* abi_hash, const LatheCudaApi** api, LatheCudaMessage* message);
int32_t lathe_cuda_open(const char* abi_hash, const LatheCudaApi** api, LatheCudaMessage* message) {
  if (strcmp(abi_hash, lathe_cuda_abi_hash()) != 0) return refuse(message, LATHE_CUDA_OTHER_BUILD, "other");
  *api = &kApi;
  return LATHE_CUDA_OK;
}
