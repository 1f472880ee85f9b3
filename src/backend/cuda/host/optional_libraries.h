// cuBLASLt and cuDNN: looked for at run time, neither is needed.
#pragma once

#include "backend/gpu.h"

namespace lathe::backend::cuda {

// `runtime_version`: of the CUDA that they have to go with. `driver_version`: 0 where there is none to fit.
GpuPart find_cublaslt(const std::vector<std::filesystem::path>& folders, int runtime_version, int driver_version);
GpuPart find_cudnn(const std::vector<std::filesystem::path>& folders, int runtime_version, int driver_version);

}  // namespace lathe::backend::cuda
