#include "cli/device.h"

#include <cstdlib>

#include "backend/device.h"

namespace lathe::cli {

backend::GpuPlaces gpu_places() {
  backend::GpuPlaces places;
  std::error_code ignored;  // without /proc the library is found by LATHE_CUDA_LIBRARY alone
  places.program_folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  if (const char* library = std::getenv("LATHE_CUDA_LIBRARY")) places.library = library;
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) places.visible = visible;
  return places;
}

std::string plan_device(const std::string& device) {
  if (backend::gpu_index(device)) return "cuda";
  return std::string(backend::get_device(device).name);
}

std::shared_ptr<backend::Accelerator> open_device(const std::string& device) {
  return backend::open_accelerator(device, gpu_places());
}

void require_cpu(const std::string& device, std::string_view what) {
  if (device.empty()) return;
  if (const auto index = backend::gpu_index(device)) backend::refuse_gpu(*index, gpu_places(), what);
  backend::get_device(device);
}

}  // namespace lathe::cli
