#include "frontend/meta_checkpoint.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "frontend/component.h"
#include "io/tensor_file.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;
using tensor::Dims;
using tensor::SourcePtr;

constexpr int kMostShards = 64;

enum class Cut { none, rows, columns };  // how shards divide a tensor

struct Name {
  std::string_view meta, hugging_face;  // {}: the layer
  Cut cut;
};
constexpr std::array<Name, 12> kNames = {{
    {"tok_embeddings.weight", "model.embed_tokens.weight", Cut::columns},  // rows since Llama 3: told by the shapes
    {"norm.weight", "model.norm.weight", Cut::none},
    {"output.weight", "lm_head.weight", Cut::rows},
    {"layers.{}.attention.wq.weight", "model.layers.{}.self_attn.q_proj.weight", Cut::rows},
    {"layers.{}.attention.wk.weight", "model.layers.{}.self_attn.k_proj.weight", Cut::rows},
    {"layers.{}.attention.wv.weight", "model.layers.{}.self_attn.v_proj.weight", Cut::rows},
    {"layers.{}.attention.wo.weight", "model.layers.{}.self_attn.o_proj.weight", Cut::columns},
    {"layers.{}.feed_forward.w1.weight", "model.layers.{}.mlp.gate_proj.weight", Cut::rows},
    {"layers.{}.feed_forward.w2.weight", "model.layers.{}.mlp.down_proj.weight", Cut::columns},
    {"layers.{}.feed_forward.w3.weight", "model.layers.{}.mlp.up_proj.weight", Cut::rows},
    {"layers.{}.attention_norm.weight", "model.layers.{}.input_layernorm.weight", Cut::none},
    {"layers.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight", Cut::none},
}};

std::string filled(std::string_view name, int64_t layer) {
  std::string text(name);
  if (const size_t hole = text.find("{}"); hole != std::string::npos) text.replace(hole, 2, std::to_string(layer));
  return text;
}

// Matrices below each other, or side by side.
class JoinedSource final : public tensor::Source {
 public:
  JoinedSource(std::vector<SourcePtr> parts, bool columns, Dims dims)
      : Source(parts[0]->dtype(), tensor::Encoding::plain, std::move(dims), parts[0]->origin()),
        parts_(std::move(parts)),
        columns_(columns),
        width_(tensor::byte_size(dtype(), 1)) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    read_part(first, count, 0, row_elements(), out);
  }

  void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                 std::span<std::byte> out) const override {
    return columns_ ? read_beside(first, count, begin, elements, out) : read_below(first, count, begin, elements, out);
  }

  void drop_rows(int64_t first, int64_t count) const override {
    for (const SourcePtr& part : parts_) {
      const int64_t rows = part->rows();
      const int64_t from = columns_ ? first : std::clamp<int64_t>(first, 0, rows);
      const int64_t to = columns_ ? first + count : std::clamp<int64_t>(first + count, 0, rows);
      if (to > from) part->drop_rows(from, to - from);
      if (!columns_) first -= rows;
    }
  }

 private:
  void read_below(int64_t first, int64_t count, int64_t begin, int64_t elements, std::span<std::byte> out) const {
    for (const SourcePtr& part : parts_) {
      const int64_t rows = part->rows(), from = std::clamp<int64_t>(first, 0, rows);
      const int64_t to = std::clamp<int64_t>(first + count, 0, rows);
      if (to > from) {
        const size_t size = size_t((to - from) * elements) * width_;
        part->read_part(from, to - from, begin, elements, out.first(size));
        out = out.subspan(size);
      }
      first -= rows;
    }
  }

  void read_beside(int64_t first, int64_t count, int64_t begin, int64_t elements, std::span<std::byte> out) const {
    for (int64_t row = first; row < first + count; ++row) {
      int64_t at = begin;  // as the next part counts; below 0: before it
      for (const SourcePtr& part : parts_) {
        const int64_t length = part->row_elements(), from = std::clamp<int64_t>(at, 0, length);
        const int64_t to = std::clamp<int64_t>(at + elements, 0, length);
        if (to > from) {
          const size_t size = size_t(to - from) * width_;
          part->read_part(row, 1, from, to - from, out.first(size));
          out = out.subspan(size);
        }
        at -= length;
      }
    }
  }

  std::vector<SourcePtr> parts_;
  bool columns_;
  size_t width_;
};

SourcePtr joined(std::vector<SourcePtr> parts, bool columns, const std::string& name) {
  if (parts.size() == 1) return parts[0];
  Dims dims = parts[0]->dims();
  if (dims.size() != 2) fail(ErrorCode::invalid_input, "tensor \"{}\": expected a matrix", name);
  const size_t axis = columns ? 1 : 0;
  for (size_t i = 1; i < parts.size(); ++i) {
    const Dims& other = parts[i]->dims();
    if (other.size() != 2 || other[1 - axis] != dims[1 - axis] || parts[i]->dtype() != parts[0]->dtype()) {
      fail(ErrorCode::invalid_input, "tensor \"{}\": shard {} has {}, the first {}", name, i,
           tensor::to_string(std::span<const int64_t>(other)),
           tensor::to_string(std::span<const int64_t>(parts[0]->dims())));
    }
    dims[axis] += other[axis];
  }
  return std::make_shared<JoinedSource>(std::move(parts), columns, std::move(dims));
}

// Rows of each head from pairs (0, 1), (2, 3) .. to halves.
SourcePtr in_halves(SourcePtr matrix, int64_t heads, const std::string& name) {
  const Dims dims = matrix->dims();
  if (dims.size() != 2 || dims[0] % (2 * heads) != 0) {
    fail(ErrorCode::invalid_input, "tensor \"{}\" {} does not divide into {} heads", name,
         tensor::to_string(std::span<const int64_t>(dims)), heads);
  }
  const int64_t head = dims[0] / heads;
  return tensor::row_mapped_source(std::move(matrix), dims, [head](int64_t row) {
    const int64_t within = row % head;
    return row - within + within % (head / 2) * 2 + within / (head / 2);
  });
}

// One key of params.json, which has few.
int64_t size_of(const Json& params, std::string_view key) {
  return check_size(key, get_int(params, key), 1 << 20);
}

// How long a context was trained does not stand in params.json; the versions differ in what does.
int64_t context_of(const Json& params, double theta) {
  constexpr double kVersion2Epsilon = 1e-5;
  if (find_bool(params, "use_scaled_rope").value_or(false)) return 131072;  // 3.1
  if (theta >= 500'000) {
    constexpr double kCodeTheta = 1e6;
    return theta == kCodeTheta ? 16384 : 8192;  // Code Llama, Llama 3
  }
  return get_number(params, "norm_eps") == kVersion2Epsilon ? 4096 : 2048;
}

Json config_of(const Json& params, const std::map<std::string, SourcePtr, std::less<>>& tensors) {
  const int64_t heads = size_of(params, "n_heads"), width = size_of(params, "dim");
  const double theta = find_number(params, "rope_theta").value_or(10000);
  const bool tied = !tensors.contains("lm_head.weight");
  Json config = {{"architectures", Json::array({"LlamaForCausalLM"})},
                 {"model_type", "llama"},
                 {"hidden_size", width},
                 {"num_hidden_layers", size_of(params, "n_layers")},
                 {"num_attention_heads", heads},
                 {"num_key_value_heads", find_int(params, "n_kv_heads").value_or(heads)},
                 {"intermediate_size", tensors.at("model.layers.0.mlp.gate_proj.weight")->dims()[0]},
                 {"vocab_size", tensors.at("model.embed_tokens.weight")->dims()[0]},
                 {"rms_norm_eps", get_number(params, "norm_eps")},
                 {"rope_theta", theta},
                 {"hidden_act", "silu"},
                 {"max_position_embeddings", context_of(params, theta)},
                 {"tie_word_embeddings", tied}};
  if (find_bool(params, "use_scaled_rope").value_or(false)) {
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", tied ? 32.0 : 8.0},  // 3.2, whose heads are tied, and 3.1
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 8192}};
  }
  return config;
}

std::vector<io::TensorFile> open_shards(const fs::path& folder) {
  std::vector<io::TensorFile> shards;
  for (int i = 0; i < kMostShards; ++i) {
    const fs::path file = folder / fmt::format("consolidated.{:02}.pth", i);
    if (file_kind(file) != FileKind::file) break;
    shards.push_back(io::TensorFile::open(file));
  }
  return shards;
}

}  // namespace

bool MetaCheckpoint::recognises(const fs::path& folder) {
  return file_kind(folder / "params.json") == FileKind::file &&
         file_kind(folder / "consolidated.00.pth") == FileKind::file;
}

MetaCheckpoint MetaCheckpoint::open(const fs::path& folder) {
  const Json params = read_json_file(folder / "params.json");
  const std::vector<io::TensorFile> shards = open_shards(folder);
  std::vector<std::map<std::string, SourcePtr, std::less<>>> stored(shards.size());
  MetaCheckpoint checkpoint;
  for (size_t i = 0; i < shards.size(); ++i) {
    checkpoint.files.push_back(shards[i].files[0]);
    for (const io::NamedSource& tensor : shards[i].tensors) stored[i].emplace(tensor.name, tensor.source);
  }
  const int64_t layers = size_of(params, "n_layers"), heads = size_of(params, "n_heads"),
                width = size_of(params, "dim");
  const int64_t kv_heads = find_int(params, "n_kv_heads").value_or(heads);
  check_size("n_kv_heads", kv_heads, heads);
  const auto take = [&](const Name& entry, int64_t layer) {
    const std::string name = filled(entry.meta, layer);
    std::vector<SourcePtr> parts;
    for (const auto& shard : stored) {
      const auto found = shard.find(name);
      if (found != shard.end()) parts.push_back(found->second);
    }
    if (parts.empty() && entry.meta == "output.weight") return;  // tied to the embeddings
    if (parts.size() != stored.size()) fail(ErrorCode::invalid_input, "missing tensor \"{}\" in a shard", name);
    if (entry.cut == Cut::none) parts.resize(1);
    const bool columns = entry.meta == "tok_embeddings.weight"
                             ? parts[0]->dims().size() == 2 && parts[0]->dims()[1] < width
                             : entry.cut == Cut::columns;
    SourcePtr whole = joined(std::move(parts), columns, name);
    if (name.ends_with("wq.weight")) whole = in_halves(std::move(whole), heads, name);
    if (name.ends_with("wk.weight")) whole = in_halves(std::move(whole), kv_heads, name);
    checkpoint.tensors.emplace(filled(entry.hugging_face, layer), std::move(whole));
  };
  for (const Name& entry : kNames) {
    const bool per_layer = entry.meta.find("{}") != std::string_view::npos;
    for (int64_t layer = 0; layer < (per_layer ? layers : 1); ++layer) take(entry, layer);
  }
  checkpoint.config = config_of(params, checkpoint.tensors);
  return checkpoint;
}

}  // namespace lathe::frontend
