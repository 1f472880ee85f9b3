// libcuda.so.1 as tests need it: a driver of VERSION whose cuInit gives INIT, and that knows no other function.
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { kSuccess = 0, kNotFound = 500 };

EXPORT int cuDriverGetVersion(int* version);
int cuDriverGetVersion(int* version) {
  *version = VERSION;
  return kSuccess;
}

EXPORT int cuInit(unsigned flags);
int cuInit(unsigned flags) {
  (void)flags;
  return INIT;
}

EXPORT int cuGetProcAddress_v2(const char* symbol, void** function, int version, uint64_t flags, int* status);
int cuGetProcAddress_v2(const char* symbol, void** function, int version, uint64_t flags, int* status) {
  (void)version;
  (void)flags;
  uintptr_t found = 0;
  if (strcmp(symbol, "cuDriverGetVersion") == 0) found = (uintptr_t)cuDriverGetVersion;
  if (strcmp(symbol, "cuInit") == 0) found = (uintptr_t)cuInit;
  if (strcmp(symbol, "cuGetProcAddress") == 0) found = (uintptr_t)cuGetProcAddress_v2;
  *function = (void*)found;
  if (status) *status = found == 0;
  return found ? kSuccess : kNotFound;
}
