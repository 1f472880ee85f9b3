// What a build rounds activations and the cache to.
#pragma once

#include <string>

#include "backend/device.h"
#include "contract/contract.h"

namespace lathe::compiler {

// As plans name them.
struct Rounding {
  std::string compute;
  std::string kv;
};

// The checkpoint's own where `precision` and `kv` (names of plan/precision.h) are empty. Throws usage for names that
// are none, unsupported for a precision that the checkpoint's weights do not allow, or the device.
Rounding choose_rounding(const contract::Contract& contract, const std::string& precision, const std::string& kv,
                         const backend::Device& device = backend::get_device("cpu"));

}  // namespace lathe::compiler
