// What can be seen of NVIDIA's driver and GPUs without liblathe_cuda.so.
#pragma once

#include <filesystem>

namespace lathe::backend::cuda {

struct Driver {
  bool found = false;  // libcuda.so.1 loads
  int version = 0;     // the newest CUDA it runs, as CUDA numbers them; 0: it does not say
};
Driver find_driver();

// Display and 3D controllers of NVIDIA among the devices of `pci` (/sys/bus/pci/devices).
int count_gpus_on_bus(const std::filesystem::path& pci);

}  // namespace lathe::backend::cuda
