// Concepts that were trained as vectors of their own (textual inversion): a word for the tokenizer, rows for the text
// encoder. "An Image is Worth One Word: Personalizing Text-to-Image Generation using Textual Inversion", section 3.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "frontend/component.h"
#include "text/clip_tokenizer.h"

namespace lathe::frontend {

struct EmbeddingFile {
  std::filesystem::path path;
  std::string name;  // the word that stands for it in a prompt; empty: what the file says, else the file's name

  bool operator==(const EmbeddingFile&) const = default;
};

// "F" or "NAME=F".
EmbeddingFile parse_embedding(std::string_view text);

// Gives the concept's rows to the text encoders' tables of tokens and its word to their tokenizers, whose files stand
// in `assets` ("tokenizer/vocab.json"). Files are those of diffusers ({word: vectors}), of AUTOMATIC1111's web UI
// (string_to_param, or emb_params) and of SDXL (clip_l, clip_g), as safetensors or pickles. A concept of n vectors is n
// tokens: its word, word_1 ... Returns a line that says what was added. Throws invalid_input for vectors that do not
// fit an encoder, usage for a word that the vocabulary has already and where there is no vocabulary.
std::string apply_embedding(std::map<std::string, ComponentInput>& components,
                            std::map<std::string, std::string>& assets, const EmbeddingFile& embedding);

// The files of a tokenizer ("tokenizer", "tokenizer_2") among assets; those that are not there are empty.
text::ClipTokenizerFiles tokenizer_files(const std::map<std::string, std::string>& assets, std::string_view folder);

}  // namespace lathe::frontend
