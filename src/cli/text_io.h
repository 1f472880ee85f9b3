// What tokenize and detokenize share.
#pragma once

#include "base/checked.h"
#include "base/error.h"
#include "cli/verb.h"
#include "text/tokenizer.h"

namespace lathe::cli {

// The tokenizer of a tokenizer.json, a folder that holds one, a .gguf file or an engine.
text::Tokenizer tokenizer_of(const std::string& model);

// The JSON list on standard input. Throws invalid_input for anything else.
Json read_stdin_list();

}  // namespace lathe::cli
