// cuBLASLt or cuDNN as tests need them: two functions that give a version each, named and numbered by the build.
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT size_t VERSION_OF(void);
size_t VERSION_OF(void) {
  return VERSION;
}

EXPORT size_t CUDA_OF(void);
size_t CUDA_OF(void) {
  return CUDA;
}
