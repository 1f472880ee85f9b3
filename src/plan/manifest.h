// Manifests and receipts as the bytes that stand in an engine.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "plan/engine_file.h"

namespace lathe::plan {

// Equal manifests give equal bytes. Throws internal for an attribute that is a tensor.
std::string write_manifest(const Manifest& manifest);
// On any bytes gives a manifest or throws invalid_input; what it says is not checked yet.
Manifest read_manifest(std::span<const std::byte> bytes);
// Throws invalid_input for a plan, contract, constant or asset that cannot be right.
void check(const Manifest& manifest);

std::string write_receipt_bytes(const Receipt& receipt);
Receipt read_receipt_bytes(std::span<const std::byte> bytes);

}  // namespace lathe::plan
