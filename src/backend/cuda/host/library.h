// Opening liblathe_cuda.so.
#pragma once

#include "backend/cuda/abi.h"
#include "backend/gpu.h"

namespace lathe::backend::cuda {

struct Library {
  std::filesystem::path path;         // empty: none was found
  std::string abi_hash;               // its own; empty where it does not say
  const LatheCudaApi* api = nullptr;  // valid until the process ends; null: `problem` says why
  std::string problem;
  std::string remedy;
};

// Of the header that this program was compiled with.
std::string_view abi_hash();

Library open_library(const GpuPlaces& places);

// "13.0" of 13000; empty of 0.
std::string version_text(int version);

// What makes the driver as new as it has to be.
inline constexpr const char* kInstallDriver =
    "apt install cuda-drivers (NVIDIA's repository; 580 or later for CUDA 13), then reboot";

}  // namespace lathe::backend::cuda
