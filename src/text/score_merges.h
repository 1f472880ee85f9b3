// SentencePiece's scores as the list of merges that BPE wants.
#pragma once

#include "base/json.h"
#include "text/gguf_tokenizer.h"

namespace lathe::text {

// Every way to make a piece of two others, best first. Throws invalid_input for pieces that can be made in more ways
// than any trained vocabulary's (the message says how many are known to be too many).
Json merges_from_scores(const GgufTokenizer& tokenizer);

}  // namespace lathe::text
