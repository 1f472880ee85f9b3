// Do two engines mean the same by the same numbers?
#pragma once

#include <string>
#include <vector>

#include "plan/engine_file.h"

namespace lathe::verify {

// What makes the same text another one: fields of the contract (vocabulary, context, cache shape, special tokens,
// template) and the tokenizer, each as "eos_ids: 2 against 0". Names, origin, precision and sampling defaults may
// differ. Empty: the same.
std::vector<std::string> contract_differences(const plan::EngineFile& a, const plan::EngineFile& b);

}  // namespace lathe::verify
