// --device: where a model is to run.
#pragma once

#include <string>

#include "backend/gpu.h"

namespace lathe::cli {

// What --help says of it.
inline constexpr const char* kDeviceHelp = "cpu; cuda or cuda:N say what keeps that GPU from running models";

// Where CUDA is looked for: beside this program, in the environment.
backend::GpuPlaces gpu_places();

// Throws unsupported, resource for a device that cannot run models here, saying why and what mends it; usage for a name
// that is none. Nothing runs elsewhere instead.
void check_device(const std::string& device);

}  // namespace lathe::cli
