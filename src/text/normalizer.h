// The "normalizer" of a tokenizer.json: what is done to the text before it is split.
#pragma once

#include <memory>
#include <string>

#include "base/json.h"

namespace lathe::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Changes `text`, which is and stays valid UTF-8.
  virtual void apply(std::string& text) const = 0;
  // The same for the content of an added token that is looked for in normalized text.
  virtual void apply_to_token(std::string& content) const { apply(content); }
};

// Throws invalid_input; unsupported, by name, for a kind that is not known.
std::unique_ptr<const Normalizer> make_normalizer(const Json& config);

}  // namespace lathe::text
