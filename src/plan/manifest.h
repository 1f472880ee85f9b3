// Manifests and receipts as the bytes that stand in an engine.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "plan/engine_file.h"
#include "plan/graph_json.h"

namespace lathe::plan {

// Equal manifests give equal bytes. Throws internal for an attribute of a language model's plan that is a tensor.
std::string write_manifest(const Manifest& manifest);
// On any bytes gives a manifest or throws invalid_input; what it says is not checked yet.
// Constants of graphs are views of `weights`.
Manifest read_manifest(std::span<const std::byte> bytes, const WeightSection& weights = {});
// Throws invalid_input for a plan, contract, constant or asset that cannot be right.
void check(const Manifest& manifest);

std::string write_receipt_bytes(const Receipt& receipt);
Receipt read_receipt_bytes(std::span<const std::byte> bytes);

}  // namespace lathe::plan
