// --device: where a model is to run.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backend/accelerator.h"
#include "backend/gpu.h"

namespace lathe::cli {

// What --help says of it.
inline constexpr const char* kDeviceHelp =
    "cpu, cuda or cuda:N (language models only; default: that of an engine, else cpu)";

// Where CUDA is looked for: beside this program, in the environment.
backend::GpuPlaces gpu_places();

// The name that plans have for it: "cuda" of "cuda:1". Throws usage, unsupported for names that are none.
std::string plan_device(const std::string& device);

// Null for the CPU. Throws unsupported, resource for a GPU that cannot run models here, saying why and what mends it;
// usage for a name that is none. Nothing runs elsewhere instead.
std::shared_ptr<backend::Accelerator> open_device(const std::string& device);

// For what runs on the CPU only; throws as open_device, and unsupported for GPUs that could be used. Empty is the CPU.
void require_cpu(const std::string& device, std::string_view what);

}  // namespace lathe::cli
