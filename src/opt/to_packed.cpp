#include "opt/to_packed.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"

namespace lathe::opt {
namespace {

using ir::Node;
using ir::NodeId;
using ir::Value;
using tensor::Dim;
using tensor::DType;

// One translation; every result of the old graph is looked up in `mapped_`.
class Packer {
 public:
  Packer(const ir::Graph& from, const PackOptions& options) : from_(from), options_(options), to_(from.name()) {}

  ir::Graph run() {
    declare_inputs();
    const std::set<NodeId> needed = nodes_with_values();
    for (const NodeId id : from_.nodes()) {
      if (!needed.contains(id)) continue;
      const Node& node = from_.node(id);
      with_context(fmt::format("node \"{}\" ({})", node.name, node.op), [&] { translate(node); });
    }
    finish_outputs();
    return std::move(to_);
  }

 private:
  // Nodes that outputs depend on by value. The shape that a Reshape is told is none: what makes it is not to blame when
  // the Reshape has no packed form.
  std::set<NodeId> nodes_with_values() const {
    std::set<NodeId> needed;
    std::set<Value> wanted(from_.outputs().begin(), from_.outputs().end());
    const auto order = from_.nodes();
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      const Node& node = from_.node(*it);
      const auto is_wanted = [&](Value output) { return wanted.contains(output); };
      if (std::none_of(node.outputs.begin(), node.outputs.end(), is_wanted)) continue;
      needed.insert(*it);
      const size_t operands = node.op == "Reshape" ? 1 : node.inputs.size();
      wanted.insert(node.inputs.begin(), node.inputs.begin() + std::ptrdiff_t(operands));
    }
    return needed;
  }

  void declare_inputs() {
    const Dim tokens = Dim::symbol("tokens");
    const Dim sequences = Dim::symbol("sequences");
    const auto input = [&](std::string_view name, DType dtype, tensor::Shape shape) {
      return to_.add_input(name, {dtype, std::move(shape), {}});
    };
    const Value token_ids = input("token_ids", DType::i64, {tokens});
    const Value positions = input("positions", DType::i64, {tokens});
    first_token_ = input("first_token", DType::i32, {Dim::symbol("sequences_one")});
    first_position_ = input("first_position", DType::i32, {sequences});
    block_table_ = input("block_table", DType::i32, {sequences, Dim::symbol("blocks")});
    output_rows_ = input("output_rows", DType::i64, {Dim::symbol("outputs")});
    if (const auto ids = from_.find("input_ids")) mapped_[*ids] = token_ids;
    if (const auto ids = from_.find("position_ids")) mapped_[*ids] = positions;
  }

  [[noreturn]] void refuse(std::string_view why) const {
    fail(ErrorCode::unsupported, "no packed form: {}", why);
  }

  bool is_past(Value value, std::string_view suffix) const {
    return value && from_.kind(value) == ir::ValueKind::input && from_.name(value).starts_with("past_key_values.") &&
           from_.name(value).ends_with(suffix);
  }

  // The constant behind a matrix that is widened before use; the value itself where there is none.
  Value stored_matrix(Value old) const {
    const NodeId producer = from_.producer(old);
    if (!producer || from_.node(producer).op != "Cast") return old;
    const Value input = from_.node(producer).inputs[0];
    return from_.is_constant(input) && tensor::is_float(from_.type(old).dtype) ? input : old;
  }
  bool is_matrix_constant(Value old) const {
    return from_.is_constant(old) && from_.source(old)->dims().size() == 2;
  }

  // A constant of the new graph; vectors become f32.
  Value constant(Value old) {
    if (const auto it = mapped_.find(old); it != mapped_.end()) return it->second;
    tensor::SourcePtr source = from_.source(old);
    if (source->dims().size() < 2 && tensor::is_float(source->dtype())) {
      source = tensor::converted_source(std::move(source), DType::f32);
    }
    return mapped_[old] = to_.add_constant(from_.source_name(old), std::move(source));
  }

  Value operand(Value old) {
    if (!old) return {};
    if (from_.is_constant(old)) return constant(old);
    const auto it = mapped_.find(old);
    if (it == mapped_.end()) refuse(fmt::format("\"{}\" is not a value per token", from_.name(old)));
    return it->second;
  }

  void emit(const Node& node, std::string_view op, std::vector<Value> inputs, op::Attributes attributes) {
    const NodeId id = to_.add_node(op, std::move(inputs), std::move(attributes), node.name, int(node.outputs.size()));
    const std::vector<Value> outputs = to_.node(id).outputs;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (!node.outputs[i]) continue;
      mapped_[node.outputs[i]] = outputs[i];
      to_.rename(outputs[i], from_.name(node.outputs[i]));
    }
  }

  void translate(const Node& node) {
    if (node.op == "lathe.CausalMask") return translate_mask(node);
    if (node.op == "Gather") return translate_gather(node);
    // A widened matrix is read by translate_matmul and translate_gather.
    if (node.op == "Cast") return is_matrix_constant(node.inputs[0]) ? void() : translate_cast(node);
    if (node.op == "Transpose" && is_matrix_constant(stored_matrix(node.inputs[0]))) return;
    if (node.op == "MatMul") return translate_matmul(node);
    if (node.op == "RotaryEmbedding") return translate_rotary(node);
    if (node.op == "Attention") return translate_attention(node);
    if (node.op == "lathe.RotaryTable") return emit(node, node.op, operands(node), node.attributes);
    if (op::get_op(node.op).elementwise && tensor::is_float(from_.type(node.outputs[0]).dtype)) {
      for (const Value input : node.inputs) {
        if (from_.is_constant(input) && from_.source(input)->dims().size() > 1) refuse("a constant of rank above 1");
      }
      return emit(node, node.op, operands(node), node.attributes);
    }
    if (node.op == "RMSNormalization" || node.op == "LayerNormalization") {
      if (node.attributes.get_int("axis", -1) != -1) refuse("normalisation over another axis than the last");
      if (node.outputs.size() > 1) refuse("normalisation with statistics as outputs");
      return emit(node, node.op, operands(node), node.attributes);
    }
    refuse("this operator has none");
  }

  std::vector<Value> operands(const Node& node) {
    std::vector<Value> result;
    for (const Value input : node.inputs) result.push_back(operand(input));
    return result;
  }

  void translate_mask(const Node& node) {
    const auto mask = from_.find("attention_mask");
    const auto ids = from_.find("input_ids");
    if (!mask || !ids || node.inputs[0] != *mask || node.inputs[1] != *ids) refuse("a mask of other inputs");
    mask_ = node.outputs[0];
  }

  void translate_gather(const Node& node) {
    const Value table = stored_matrix(node.inputs[0]);
    if (!is_matrix_constant(table) || node.attributes.get_int("axis", 0) != 0) {
      refuse("only a look-up of rows of a constant");
    }
    emit(node, "lathe.Embed", {constant(table), operand(node.inputs[1])}, {});
  }

  // Values are f32 throughout, so conversions between float types are gone.
  void translate_cast(const Node& node) {
    const auto to = DType(node.attributes.get_int("to", 0));
    if (!tensor::is_float(to) || !tensor::is_float(from_.type(node.inputs[0]).dtype)) refuse("a cast of integers");
    mapped_[node.outputs[0]] = operand(node.inputs[0]);
  }

  void translate_matmul(const Node& node) {
    const Value right = node.inputs[1];
    const NodeId producer = from_.producer(right);
    const bool transposed = producer && from_.node(producer).op == "Transpose";
    const Value stored = stored_matrix(transposed ? from_.node(producer).inputs[0] : right);
    Value weight;
    if (transposed && is_matrix_constant(stored)) {
      weight = constant(stored);
    } else if (!transposed && is_matrix_constant(stored)) {
      weight = to_.add_constant(from_.source_name(stored) + ".transposed",
                                tensor::transposed_source(from_.source(stored)));
    } else {
      refuse("a product of two values that both change");
    }
    emit(node, "lathe.Linear", {operand(node.inputs[0]), {}, {}, {}, weight},
         {{"compute", rounding_for(*to_.source(weight))}});
  }

  // Rounding to integers is for weights in blocks; plain ones beside them multiply in their own type.
  std::string rounding_for(const tensor::Source& weight) const {
    const bool integers = options_.compute == "i8" || options_.compute == "i16";
    if (!integers || weight.encoding() != tensor::Encoding::plain) return options_.compute;
    const bool half = weight.dtype() == DType::f16 || weight.dtype() == DType::bf16;
    return half ? std::string(tensor::to_string(weight.dtype())) : "f32";
  }

  struct Rotation {
    Value x;  // of the old graph, before the rotation
    Value cos;
    Value sin;
    int64_t dims = 0;  // 0: whole head
    int64_t interleaved = 0;
  };

  void translate_rotary(const Node& node) {
    if (node.inputs.size() > 3 && node.inputs[3]) refuse("position_ids inside RotaryEmbedding");
    if (from_.type(node.inputs[0]).shape.size() != 3) refuse("heads that are not side by side in a row");
    rotations_[node.outputs[0]] = {node.inputs[0], node.inputs[1], node.inputs[2],
                                   node.attributes.get_int("rotary_embedding_dim", 0),
                                   node.attributes.get_int("interleaved", 0)};
  }

  void translate_attention(const Node& node) {
    const op::Attributes& attributes = node.attributes;
    for (const auto& [name, value] : attributes) {
      const bool known = name == "q_num_heads" || name == "kv_num_heads" || name == "scale" || name == "softcap" ||
                         name == "is_causal";
      if (!known) refuse(fmt::format("attention with {}", name));
    }
    if (from_.type(node.inputs[0]).shape.size() != 3) refuse("heads that are not side by side in a row");
    const bool plain = node.inputs.size() == 6 && node.inputs[3] && node.inputs[3] == mask_ &&
                       is_past(node.inputs[4], ".key") && is_past(node.inputs[5], ".value") &&
                       node.outputs.size() == 3 && attributes.get_int("is_causal", 0) == 0 &&
                       attributes.get_float("softcap", 0) == 0;
    if (!plain) refuse("only causal attention over past_key_values.N with present.N");
    const auto q = rotations_.find(node.inputs[0]);
    const auto k = rotations_.find(node.inputs[1]);
    if ((q == rotations_.end()) != (k == rotations_.end())) refuse("only one of query and key is rotated");
    Rotation rotation{.x = node.inputs[0], .cos = {}, .sin = {}};
    Value key = node.inputs[1];
    if (q != rotations_.end()) {
      rotation = q->second;
      const Rotation& other = k->second;
      if (rotation.cos != other.cos || rotation.sin != other.sin || rotation.dims != other.dims ||
          rotation.interleaved != other.interleaved) {
        refuse("query and key are rotated differently");
      }
      key = other.x;
    }
    const int64_t heads = attributes.get_int("q_num_heads", 0);
    const int64_t kv_heads = attributes.get_int("kv_num_heads", 0);
    const int64_t width = from_.type(node.inputs[0]).shape.back().value();
    const int64_t head_dim = width / heads;
    const NodeId joined = to_.add_node("Concat", {operand(rotation.x), operand(key), operand(node.inputs[2])},
                                       {{"axis", int64_t{-1}}}, node.name + ".qkv");
    const tensor::Shape cache = {Dim::symbol("cache_blocks"), kv_heads, options_.kv_block, head_dim};
    const int64_t layer = int64_t(next_keys_.size());
    const Value keys = to_.add_input(fmt::format("key_cache.{}", layer), {options_.kv, cache, {}});
    const Value values = to_.add_input(fmt::format("value_cache.{}", layer), {options_.kv, cache, {}});
    const bool rotates = bool(rotation.cos);
    const NodeId id = to_.add_node(
        "lathe.PagedAttention",
        {to_.node(joined).outputs[0], rotates ? operand(rotation.cos) : Value{},
         rotates ? operand(rotation.sin) : Value{}, first_token_, first_position_, block_table_, keys, values},
        {{"num_heads", heads},
         {"kv_heads", kv_heads},
         {"head_dim", head_dim},
         {"scale", attributes.get_float("scale", 1 / std::sqrt(double(head_dim)))},
         {"rotary_dim", !rotates ? 0 : rotation.dims == 0 ? head_dim : rotation.dims},
         {"interleaved", rotation.interleaved}},
        node.name, 3);
    const std::vector<Value> outputs = to_.node(id).outputs;
    mapped_[node.outputs[0]] = outputs[0];
    to_.rename(outputs[0], from_.name(node.outputs[0]));
    next_keys_.push_back(outputs[1]);
    next_values_.push_back(outputs[2]);
  }

  void finish_outputs() {
    for (const Value output : from_.outputs()) {
      const std::string& name = from_.name(output);
      if (name.starts_with("present.")) continue;  // the caches are states now
      if (name != "logits") fail(ErrorCode::unsupported, "output \"{}\" has no packed form", name);
      const Value all = operand(output);
      to_.rename(all, "logits_of_all_tokens");
      const NodeId rows = to_.add_node("Gather", {all, output_rows_}, {{"axis", int64_t{0}}}, "output_rows");
      to_.add_output(to_.node(rows).outputs[0], "logits");
    }
    for (size_t layer = 0; layer < next_keys_.size(); ++layer) {
      to_.add_output(next_keys_[layer], fmt::format("key_cache.{}.next", layer));
      to_.add_output(next_values_[layer], fmt::format("value_cache.{}.next", layer));
    }
  }

  const ir::Graph& from_;
  const PackOptions& options_;
  ir::Graph to_;
  std::map<Value, Value> mapped_;        // old -> new
  std::map<Value, Rotation> rotations_;  // results of RotaryEmbedding
  Value mask_;
  Value first_token_, first_position_, block_table_, output_rows_;
  std::vector<Value> next_keys_, next_values_;
};

}  // namespace

ir::Graph to_packed(const ir::Graph& decoder, const PackOptions& options) { return Packer(decoder, options).run(); }

}  // namespace lathe::opt
