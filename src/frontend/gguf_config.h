// GGUF metadata in the form a Hugging Face folder has it: config.json and the files beside it.
#pragma once

#include <map>
#include <string>

#include "base/json.h"
#include "frontend/decoder.h"
#include "io/gguf.h"

namespace lathe::frontend {

// config.json with the keys of transformers' config class for this architecture.
Json config_from_gguf(const io::GgufModel& model, const Architecture& architecture);

// config.json, generation_config.json, and, if the file has a tokenizer, tokenizer.json and
// tokenizer_config.json (with the chat template).
std::map<std::string, std::string> assets_from_gguf(const io::GgufMetadata& metadata, const Json& config);

}  // namespace lathe::frontend
