#include "frontend/embedding.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "io/tensor_file.h"

namespace lathe::frontend {
namespace {

using tensor::Dims;
using tensor::SourcePtr;

constexpr int64_t kMostVectors = 1024;
constexpr std::string_view kTable = "embeddings.token_embedding.weight";

// A table with rows of another in place of its own, and behind them.
class PatchedRows final : public tensor::Source {
 public:
  // `rows`: of the result, by the row of `more` that stands there. Both are f32.
  PatchedRows(SourcePtr base, SourcePtr more, std::map<int64_t, int64_t> rows, Dims dims)
      : Source(tensor::DType::f32, tensor::Encoding::plain, std::move(dims), base->origin()),
        base_(std::move(base)),
        more_(std::move(more)),
        rows_(std::move(rows)) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    const size_t size = row_size();
    const int64_t there = std::clamp<int64_t>(base_->rows() - first, 0, count);
    base_->read_rows(there > 0 ? first : 0, there, out.first(size_t(there) * size));
    for (auto row = rows_.lower_bound(first); row != rows_.end() && row->first < first + count; ++row) {
      more_->read_rows(row->second, 1, out.subspan(size_t(row->first - first) * size, size));
    }
  }

  void drop_rows(int64_t first, int64_t count) const override {
    const int64_t there = std::clamp<int64_t>(base_->rows() - first, 0, count);
    if (there > 0) base_->drop_rows(first, there);
  }

 private:
  SourcePtr base_, more_;
  std::map<int64_t, int64_t> rows_;
};

// What a file holds: vectors by the role of the text encoder they are for.
struct Concept {
  std::string word;                          // empty: the file does not say
  std::map<std::string, SourcePtr> vectors;  // [width] or [count, width]
};

Concept read_concept(const io::TensorFile& file) {
  Concept found;
  const SourcePtr first = file.find("clip_l"), second = file.find("clip_g");
  if (first) found.vectors["text_encoder"] = first;
  if (second) found.vectors["text_encoder_2"] = second;
  if (first || second) return found;
  constexpr std::string_view kParameters = "string_to_param.";
  for (const io::NamedSource& tensor : file.tensors) {
    if (!tensor.name.starts_with(kParameters) && tensor.name != "emb_params") continue;
    if (!found.vectors.empty()) fail(ErrorCode::unsupported, "more than one concept: \"{}\"", tensor.name);
    if (const std::string* name = file.find_text("name")) found.word = *name;
    found.vectors["text_encoder"] = tensor.source;
  }
  if (!found.vectors.empty()) return found;
  if (file.tensors.size() != 1) {
    std::string names;
    for (size_t i = 0; i < std::min<size_t>(file.tensors.size(), 5); ++i) {
      names += fmt::format("{}\"{}\"", i == 0 ? "" : ", ", file.tensors[i].name);
    }
    fail(ErrorCode::invalid_input, "no concept: expected one tensor, string_to_param or clip_l, found {} tensors ({})",
         file.tensors.size(), names);
  }
  return {file.tensors[0].name, {{"text_encoder", file.tensors[0].source}}};
}

// The vectors as [count, width] of the encoder's width.
SourcePtr as_rows(const SourcePtr& vectors, int64_t width, const std::string& role) {
  const Dims& dims = vectors->dims();
  const bool fits = (dims.size() == 1 || dims.size() == 2) && dims.back() == width;
  const int64_t count = dims.size() == 2 ? dims[0] : 1;
  if (!fits || count < 1 || count > kMostVectors || !tensor::is_float(vectors->dtype())) {
    fail(ErrorCode::invalid_input, "made for another model: {} has tokens of {} numbers, the file {}{}", role, width,
         tensor::to_string(vectors->dtype()), tensor::to_string(std::span(dims)));
  }
  return tensor::converted_source(tensor::reshaped_source(vectors, {count, width}), tensor::DType::f32);
}

void put_files(std::map<std::string, std::string>& assets, const std::string& folder,
               const text::ClipTokenizerFiles& files) {
  if (!files.tokenizer.empty()) {
    assets[folder + "/tokenizer.json"] = files.tokenizer;
  } else {
    assets[folder + "/added_tokens.json"] = files.added_tokens;
  }
}

// The ids that the tokenizer gives to a concept's tokens, which it gets.
std::vector<int64_t> add_words(std::map<std::string, std::string>& assets, const std::string& folder,
                               const std::string& word, int64_t count) {
  text::ClipTokenizerFiles files = tokenizer_files(assets, folder);
  if (files.tokenizer.empty() && files.vocab.empty()) {
    fail(ErrorCode::usage, "a concept needs a vocabulary: a single file has none, give --tokenizer FOLDER");
  }
  std::vector<std::string> words = {word};
  for (int64_t i = 1; i < count; ++i) words.push_back(fmt::format("{}_{}", word, i));
  text::add_clip_tokens(files, words);
  put_files(assets, folder, files);
  const text::ClipTokenizer clip = text::make_clip_tokenizer(files);
  std::vector<int64_t> ids;
  for (const std::string& content : words) ids.push_back(clip.tokenizer.token_to_id(content).value());
  return ids;
}

void add_rows(ComponentInput& encoder, const SourcePtr& rows, const std::vector<int64_t>& ids) {
  const auto table =
      std::ranges::find_if(encoder.tensors, [](const auto& tensor) { return tensor.first.ends_with(kTable); });
  LATHE_CHECK(table != encoder.tensors.end());
  SourcePtr& base = table->second;
  const int64_t stored = base->dims()[0], width = base->dims()[1];
  std::map<int64_t, int64_t> places;
  for (size_t i = 0; i < ids.size(); ++i) places[ids[i]] = int64_t(i);
  const int64_t count = std::max(stored, ids.back() + 1);
  if (ids.front() > stored) {
    fail(ErrorCode::invalid_input, "the tokenizer has {} tokens, the text encoder {}", ids.front(), stored);
  }
  base = std::make_shared<PatchedRows>(tensor::converted_source(base, tensor::DType::f32), rows, std::move(places),
                                       Dims{count, width});
  encoder.config["vocab_size"] = count;
}

int64_t width_of(const ComponentInput& encoder) {
  for (const auto& [name, source] : encoder.tensors) {
    if (name.ends_with(kTable) && source->dims().size() == 2) return source->dims()[1];
  }
  fail(ErrorCode::invalid_input, "{}: no tensor \"...{}\"", encoder.role, kTable);
}

std::string add(std::map<std::string, ComponentInput>& components, std::map<std::string, std::string>& assets,
                const EmbeddingFile& embedding) {
  const Concept found = read_concept(io::TensorFile::open(embedding.path));
  std::string word = embedding.name.empty() ? found.word : embedding.name;
  if (word.empty()) word = embedding.path.stem().string();
  if (components.contains("text_encoder_2") != found.vectors.contains("text_encoder_2")) {
    fail(ErrorCode::invalid_input,
         "made for another model: the pipeline has {} text encoder{}, the file vectors for {}",
         components.contains("text_encoder_2") ? "two" : "one", components.contains("text_encoder_2") ? "s" : "",
         found.vectors.size());
  }
  int64_t count = 0;
  for (const auto& [role, vectors] : found.vectors) {
    const auto encoder = components.find(role);
    if (encoder == components.end()) fail(ErrorCode::invalid_input, "the pipeline has no {}", role);
    const SourcePtr rows = as_rows(vectors, width_of(encoder->second), role);
    count = rows->dims()[0];
    const std::string folder = "tokenizer" + role.substr(std::string_view("text_encoder").size());
    add_rows(encoder->second, rows, add_words(assets, folder, word, count));
    assets[role + "/config.json"] = encoder->second.config.dump(2);
  }
  return fmt::format("embedding {}: \"{}\", {} vector{}", embedding.path.filename().string(), word, count,
                     count == 1 ? "" : "s");
}

}  // namespace

EmbeddingFile parse_embedding(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || text.substr(0, equals).find('/') != std::string_view::npos) {
    return {text, ""};
  }
  return {text.substr(equals + 1), std::string(text.substr(0, equals))};
}

text::ClipTokenizerFiles tokenizer_files(const std::map<std::string, std::string>& assets, std::string_view folder) {
  const auto find = [&](std::string_view name) {
    const auto asset = assets.find(fmt::format("{}/{}", folder, name));
    return asset == assets.end() ? std::string() : asset->second;
  };
  return {.vocab = find("vocab.json"),
          .merges = find("merges.txt"),
          .special_tokens_map = find("special_tokens_map.json"),
          .tokenizer_config = find("tokenizer_config.json"),
          .added_tokens = find("added_tokens.json"),
          .tokenizer = find("tokenizer.json")};
}

std::string apply_embedding(std::map<std::string, ComponentInput>& components,
                            std::map<std::string, std::string>& assets, const EmbeddingFile& embedding) {
  return with_context(fmt::format("--embedding {}", embedding.path.string()),
                      [&] { return add(components, assets, embedding); });
}

}  // namespace lathe::frontend
