// A model between import and export: its graphs, what their numbers mean, and the files that belong to it.
#pragma once

#include <map>
#include <string>

#include "contract/contract.h"
#include "ir/graph.h"

namespace lathe::ir {

// A file that travels with the model as it is: tokenizer.json, config.json, generation_config.json.
struct Asset {
  std::string bytes;  // any bytes, text or not
};

struct Model {
  std::map<std::string, Graph> graphs;  // "main" for a language model; "unet", "vae_decoder" ... for pictures
  contract::Contract contract;
  std::map<std::string, Asset> assets;  // by file name
};

}  // namespace lathe::ir
