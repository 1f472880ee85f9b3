#include "backend/cuda/host/driver.h"

#include <dlfcn.h>

#include "base/error.h"
#include "base/file.h"

namespace lathe::backend::cuda {

Driver find_driver() {
  Driver driver;
  void* library = ::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (!library) return driver;
  driver.found = true;
  if (void* symbol = ::dlsym(library, "cuDriverGetVersion")) {
    const int status = reinterpret_cast<int (*)(int*)>(symbol)(&driver.version);
    if (status != 0) driver.version = 0;
  }
  ::dlclose(library);
  return driver;
}

int count_gpus_on_bus(const std::filesystem::path& pci) {
  constexpr std::string_view kNvidia = "0x10de", kDisplay = "0x03";  // of class 0x030000 and 0x030200
  int count = 0;
  std::error_code ignored;  // where the bus cannot be read, nothing is known of it
  for (const auto& device : std::filesystem::directory_iterator(pci, ignored)) {
    if (file_kind(device.path() / "vendor") != FileKind::file || file_kind(device.path() / "class") != FileKind::file) {
      continue;
    }
    count += read_file_head(device.path() / "vendor", kNvidia.size()) == kNvidia &&
             read_file_head(device.path() / "class", kDisplay.size()) == kDisplay;
  }
  return count;
}

}  // namespace lathe::backend::cuda
